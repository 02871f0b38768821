// What kstatus, by which Flux and others tell health, makes of the object on standard input.
// The build is kept by the version of cli-utils: after a change here remove it from ~/.cache/convercus-operator.
package main

import (
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	object := &unstructured.Unstructured{}
	if err == nil {
		err = object.UnmarshalJSON(text)
	}
	if err == nil {
		var result *status.Result
		if result, err = status.Compute(object); err == nil {
			fmt.Print(result.Status)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
