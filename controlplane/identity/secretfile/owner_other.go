//go:build !unix

package secretfile

import "os"

func giveTo(*os.File, string) error { return nil }
