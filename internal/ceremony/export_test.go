package ceremony

// Payload is the encoding of a record before it is signed.
func Payload(r Record) ([]byte, error) { return r.encode() }
