package definition

// Expand is a document as YAML, with short forms written out and every default filled in.
func Expand(d *Document) ([]byte, error) { panic("being written") }
