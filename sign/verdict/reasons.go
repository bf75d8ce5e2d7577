package verdict

// Encoding: the bytes are not deterministic CBOR (RFC 8949, section 4.2.1).
const (
	Truncated        Reason = "truncated"           // input ends inside an item
	TrailingBytes    Reason = "trailing-bytes"      // input goes on after the item
	WrongType        Reason = "wrong-type"          // another CBOR major type is required here
	LongForm         Reason = "long-form"           // an integer or length not in its shortest form
	Indefinite       Reason = "indefinite-length"   // indefinite-length item
	DuplicateKey     Reason = "duplicate-key"       // a map key occurs twice
	UnsortedKeys     Reason = "unsorted-keys"       // map keys out of bytewise order
	ReservedEncoding Reason = "reserved-encoding"   // additional information 28..30, or a simple value that is not allowed
	BadUTF8          Reason = "bad-utf8"            // text string is not UTF-8
	TooDeep          Reason = "too-deep"            // nesting beyond the bound
	TooLarge         Reason = "too-large"           // a count, length or number beyond the bound
	WrongCount       Reason = "wrong-element-count" // map or array head does not fit its content
	UnknownKey       Reason = "unknown-key"         // a map key that the profile does not have
	MissingKey       Reason = "missing-key"         // a required map key is absent
)
