/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin for QEMU that tells whether two runs of a function were the same. A
 * program calls an empty function before what it wants traced and another one
 * behind it; for each such region there is a line
 *
 *   region INSTRUCTIONS PC-HASH ACCESSES ADDRESS-HASH
 *
 * on standard output: the number of instructions, a hash of all their addresses,
 * the number of memory accesses and a hash of all addresses they went to. A
 * branch that depends on a secret changes the first hash, a table that is read
 * at a secret place the second.
 *
 *   qemu-system-arm ... -plugin trace.so,begin=0x1234,end=0x1236
 *
 * Debian 12 has no header for plugins. What follows is the same in the versions 1
 * of the interface, QEMU 4.2 to 8.2, and 2, from 9.0 on; INTERFACE says which.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = INTERFACE;

static uint64_t begin, end; /* addresses of the two functions */

static struct {
    bool on;
    uint64_t instructions, accesses, pc_hash, address_hash;
} region;

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 29;
}

static void on_instruction(unsigned cpu, void *data)
{
    uint64_t pc = (uintptr_t)data;

    (void)cpu;
    if (pc == begin) {
        memset(&region, 0, sizeof region);
        region.on = true;
    } else if (pc == end && region.on) {
        printf("region %" PRIu64 " %016" PRIx64 " %" PRIu64 " %016" PRIx64 "\n", region.instructions, region.pc_hash, region.accesses,
               region.address_hash);
        fflush(stdout);
        region.on = false;
    } else if (region.on) {
        region.instructions++;
        region.pc_hash = mix(region.pc_hash, pc);
    }
}

static void on_access(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    (void)cpu;
    (void)info;
    (void)data;
    if (region.on) {
        region.accesses++;
        region.address_hash = mix(region.address_hash, address);
    }
}

static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);

        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGISTERS, READS_AND_WRITES, NULL);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "begin=", 6))
            begin = strtoull(argv[i] + 6, NULL, 0);
        if (!strncmp(argv[i], "end=", 4))
            end = strtoull(argv[i] + 4, NULL, 0);
    }
    if (!begin || !end) {
        fprintf(stderr, "trace: begin and end are needed\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    return 0;
}
