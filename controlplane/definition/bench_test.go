package definition

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse is of a file with 1,000 Routes.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	for i := range 1000 {
		text.WriteString("---\n" + strings.Replace(shop, "name: shop", fmt.Sprintf("name: shop-%d", i), 1))
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, problems := Parse("x.yaml", data); len(problems) > 0 {
			b.Fatal(list(problems))
		}
	}
}
