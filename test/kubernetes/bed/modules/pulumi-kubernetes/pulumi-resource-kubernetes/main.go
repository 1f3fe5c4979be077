// Pulumi's plugin for Kubernetes. Its own main embeds a schema that is not in the Go module; here it lies beside the program.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

func main() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	schema, err := os.ReadFile(filepath.Join(filepath.Dir(program), "schema", "schema.json"))
	if err != nil {
		log.Fatal(err)
	}
	// What Terraform's resources are called has no part in this.
	provider.Serve("kubernetes", version.Version, schema, []byte("{}"))
}
