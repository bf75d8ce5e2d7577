/* SPDX-License-Identifier: Apache-2.0
 *
 * A PKCS#11 module around another one, for tests: it injects errors and
 * latency, changes what the token says of itself, and counts calls. It never
 * writes an argument of a call anywhere.
 *
 * Every Cryptoki argument is a pointer or a CK_ULONG-sized integer, so that one
 * wrapper of eight words passes all functions on where the first eight such
 * arguments of a call can be passed without knowing how many there are (x86-64
 * and AArch64 System V). See p11fault.go for the language of the plan.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long word; /* CK_ULONG, or a pointer */
typedef word (*function)(word, word, word, word, word, word, word, word);

/* The functions of CK_FUNCTION_LIST, PKCS#11 v2.40, in its order. */
#define FUNCTIONS(F) \
	F(Initialize) F(Finalize) F(GetInfo) F(GetFunctionList) F(GetSlotList) F(GetSlotInfo) \
	F(GetTokenInfo) F(GetMechanismList) F(GetMechanismInfo) F(InitToken) F(InitPIN) F(SetPIN) \
	F(OpenSession) F(CloseSession) F(CloseAllSessions) F(GetSessionInfo) F(GetOperationState) \
	F(SetOperationState) F(Login) F(Logout) F(CreateObject) F(CopyObject) F(DestroyObject) \
	F(GetObjectSize) F(GetAttributeValue) F(SetAttributeValue) F(FindObjectsInit) F(FindObjects) \
	F(FindObjectsFinal) F(EncryptInit) F(Encrypt) F(EncryptUpdate) F(EncryptFinal) F(DecryptInit) \
	F(Decrypt) F(DecryptUpdate) F(DecryptFinal) F(DigestInit) F(Digest) F(DigestUpdate) \
	F(DigestKey) F(DigestFinal) F(SignInit) F(Sign) F(SignUpdate) F(SignFinal) F(SignRecoverInit) \
	F(SignRecover) F(VerifyInit) F(Verify) F(VerifyUpdate) F(VerifyFinal) F(VerifyRecoverInit) \
	F(VerifyRecover) F(DigestEncryptUpdate) F(DecryptDigestUpdate) F(SignEncryptUpdate) \
	F(DecryptVerifyUpdate) F(GenerateKey) F(GenerateKeyPair) F(WrapKey) F(UnwrapKey) F(DeriveKey) \
	F(SeedRandom) F(GenerateRandom) F(GetFunctionStatus) F(CancelFunction) F(WaitForSlotEvent)

#define INDEX(name) i##name,
enum { FUNCTIONS(INDEX) COUNT };
#define NAME(name) "C_" #name,
static const char *const names[COUNT] = {FUNCTIONS(NAME)};

struct list {
	unsigned char version[2];
	function call[COUNT];
};

enum {
	CKR_GENERAL_ERROR = 0x05,
	CKR_MECHANISM_INVALID = 0x70,
	CKR_SESSION_COUNT = 0xB1,
	RULES = 32,
	FLAGS_AT = 96,        /* of CK_TOKEN_INFO: 32 + 32 + 16 + 16 bytes of text before it */
	MAX_SESSIONS_AT = 104 /* ulMaxSessionCount */
};

struct rule {
	int function; /* -1: any */
	word nth, result;
	int onwards;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list *real, mine;
static void *library;
static char path[4096], pin[256];
static struct rule rules[RULES], damage[RULES];
static int nrules, ndamage;
static word counts[COUNT], total, sessions, session_limit, set_flags, clear_flags, max_sessions, hidden, interrupt_at;
static int has_max_sessions, has_hidden;
static unsigned latency, latencies[COUNT];

static int index_of(const char *name)
{
	for (int i = 0; i < COUNT; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

static int parse_one(const char *text)
{
	char name[64];
	word nth, value;
	struct rule r = {-1, 0, 0, 0};
	if (sscanf(text, "flags+%li", &value) == 1)
		set_flags |= value;
	else if (sscanf(text, "flags-%li", &value) == 1)
		clear_flags |= value;
	else if (sscanf(text, "maxsessions=%li", &value) == 1)
		has_max_sessions = 1, max_sessions = value;
	else if (sscanf(text, "sessions=%li", &value) == 1)
		session_limit = value;
	else if (sscanf(text, "without=%li", &value) == 1)
		has_hidden = 1, hidden = value;
	else if (sscanf(text, "padpin=%255s", pin) == 1)
		return 1;
	else if (sscanf(text, "latency=%li", &value) == 1)
		latency = value;
	else if (sscanf(text, "interrupt@%lu", &nth) == 1)
		interrupt_at = nth;
	else if (sscanf(text, "damage@%lu", &nth) == 1 && ndamage < RULES)
		damage[ndamage++].nth = nth;
	else if (sscanf(text, "%63[^~@]~%lu", name, &value) == 2 && index_of(name) >= 0)
		latencies[index_of(name)] = value;
	else {
		if (sscanf(text, "%63[^~@]@%lu=%li", name, &nth, &value) != 3) {
			if (sscanf(text, "%63[^~@]@%lu+=%li", name, &nth, &value) != 3)
				return 0;
			r.onwards = 1;
		}
		r.function = index_of(name);
		r.nth = nth;
		r.result = value;
		if ((r.function < 0 && strcmp(name, "*") != 0) || nrules == RULES)
			return 0;
		rules[nrules++] = r;
	}
	return 1;
}

/* p11fault_plan forgets the old plan and all counts. The module at real_path is
 * used when the function list is next asked for. It returns 0 for a plan that it
 * does not understand. */
int p11fault_plan(const char *real_path, const char *plan)
{
	char copy[2048], *rest, *word_;
	int good = 1;
	pthread_mutex_lock(&lock);
	snprintf(path, sizeof path, "%s", real_path);
	snprintf(copy, sizeof copy, "%s", plan);
	nrules = ndamage = has_max_sessions = has_hidden = 0;
	latency = 0;
	interrupt_at = session_limit = set_flags = clear_flags = total = 0;
	memset(counts, 0, sizeof counts);
	memset(latencies, 0, sizeof latencies);
	memset(pin, 0, sizeof pin);
	for (word_ = strtok_r(copy, " ", &rest); word_ != NULL; word_ = strtok_r(NULL, " ", &rest))
		good = parse_one(word_) && good;
	pthread_mutex_unlock(&lock);
	return good;
}

/* p11fault_calls is how often a function was called since the plan was made, "*"
 * for all together. */
long p11fault_calls(const char *name)
{
	int i = index_of(name);
	long n;
	pthread_mutex_lock(&lock);
	n = strcmp(name, "*") == 0 ? (long)total : i < 0 ? -1 : (long)counts[i];
	pthread_mutex_unlock(&lock);
	return n;
}

/* record appends a line to the file that an environment variable names. */
static void record(const char *variable, const char *line)
{
	const char *file = getenv(variable);
	int f;
	if (file == NULL || (f = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0)
		return;
	if (write(f, line, strlen(line)) < 0)
		perror("p11fault");
	close(f);
}

static void record_environment(void)
{
	char arguments[4096] = "";
	ssize_t n = 0;
	int f;
	if (getenv("P11FAULT_ENVIRON") == NULL)
		return;
	if ((f = open("/proc/self/cmdline", O_RDONLY)) >= 0) {
		n = read(f, arguments, sizeof arguments - 2);
		close(f);
	}
	for (ssize_t k = 0; k < n; k++)
		if (arguments[k] == 0)
			arguments[k] = ' ';
	arguments[n > 0 ? n : 0] = '\n';
	record("P11FAULT_ENVIRON", arguments);
	for (char **e = environ; *e != NULL; e++) {
		record("P11FAULT_ENVIRON", *e);
		record("P11FAULT_ENVIRON", "\n");
	}
}

/* before returns what a call is to fail with, 0 to let it through. */
static word before(int i)
{
	word result = 0, n, all;
	unsigned wait;
	char line[128];
	pthread_mutex_lock(&lock);
	n = ++counts[i];
	all = ++total;
	for (int k = 0; k < nrules && result == 0; k++) {
		word at = rules[k].function < 0 ? all : n;
		if (rules[k].function >= 0 ? rules[k].function != i : i == iFinalize)
			continue; /* a dead token does not keep a library from letting go */
		if (at == rules[k].nth || (rules[k].onwards && at > rules[k].nth))
			result = rules[k].result;
	}
	if (i == iOpenSession && result == 0 && session_limit != 0 && sessions >= session_limit)
		result = CKR_SESSION_COUNT;
	wait = latency + latencies[i];
	pthread_mutex_unlock(&lock);
	snprintf(line, sizeof line, "%s%s\n", names[i], result != 0 ? " fault" : "");
	record("P11FAULT_LOG", line);
	if (i == iSign)
		record_environment();
	if (i == iSign && n == interrupt_at)
		kill(getpid(), SIGINT);
	if (wait != 0)
		usleep(wait);
	return result;
}

static word pass(int i, word a, word b, word c, word d, word e, word f, word g, word h)
{
	word result = before(i), mechanism = 0;
	if (result != 0)
		return result;
	switch (i) {
	case iGetMechanismInfo:
		mechanism = b;
		break;
	case iSignInit:
	case iEncryptInit:
	case iDecryptInit:
	case iDigestInit:
	case iGenerateKey:
	case iGenerateKeyPair:
	case iWrapKey:
	case iUnwrapKey:
	case iDeriveKey:
		mechanism = b != 0 ? *(word *)b : 0;
		break;
	case iLogin: /* the PIN pad */
		if (c == 0 && pin[0] != 0)
			c = (word)pin, d = strlen(pin);
		break;
	}
	if (has_hidden && mechanism == hidden && mechanism != 0)
		return CKR_MECHANISM_INVALID;
	result = real->call[i](a, b, c, d, e, f, g, h);
	pthread_mutex_lock(&lock);
	switch (i) {
	case iInitialize:
	case iFinalize:
	case iCloseAllSessions:
		sessions = 0;
		break;
	case iOpenSession:
		sessions += result == 0;
		break;
	case iCloseSession:
		sessions -= result == 0 && sessions > 0;
		break;
	case iGetTokenInfo:
		if (result == 0 && b != 0) {
			word *flags = (word *)(b + FLAGS_AT), *max = (word *)(b + MAX_SESSIONS_AT);
			*flags = (*flags | set_flags) & ~clear_flags;
			if (has_max_sessions)
				*max = max_sessions;
		}
		break;
	case iGetMechanismList:
		if (result == 0 && has_hidden && b != 0) {
			word *list = (word *)b, *length = (word *)c, kept = 0;
			for (word k = 0; k < *length; k++)
				if (list[k] != hidden)
					list[kept++] = list[k];
			*length = kept;
		}
		break;
	case iSign:
		for (int k = 0; k < ndamage; k++)
			if (result == 0 && d != 0 && counts[i] == damage[k].nth)
				*(unsigned char *)d ^= 1;
		break;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

#define WRAPPER(name) \
	static word w##name(word a, word b, word c, word d, word e, word f, word g, word h) \
	{ \
		return pass(i##name, a, b, c, d, e, f, g, h); \
	}
FUNCTIONS(WRAPPER)

word C_GetFunctionList(struct list **out)
{
	static char loaded[sizeof path];
	word (*get)(struct list **);
	Dl_info me;
	if (path[0] == 0) { /* a process that is controlled by its environment */
		const char *r = getenv("P11FAULT_REAL"), *plan = getenv("P11FAULT");
		if (r == NULL || !p11fault_plan(r, plan != NULL ? plan : ""))
			return CKR_GENERAL_ERROR;
	}
	if (real == NULL || strcmp(loaded, path) != 0) {
		/* Stay loaded: else the counts would start anew with every reconnect. */
		if (dladdr((void *)C_GetFunctionList, &me) != 0)
			dlopen(me.dli_fname, RTLD_NOW | RTLD_NODELETE);
		library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		get = library != NULL ? (word(*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
		if (get == NULL || get(&real) != 0 || real == NULL)
			return CKR_GENERAL_ERROR;
		snprintf(loaded, sizeof loaded, "%s", path);
		memcpy(mine.version, real->version, sizeof mine.version);
#define ENTRY(name) mine.call[i##name] = w##name;
		FUNCTIONS(ENTRY)
		mine.call[iGetFunctionList] = (function)C_GetFunctionList;
	}
	*out = &mine;
	return 0;
}
