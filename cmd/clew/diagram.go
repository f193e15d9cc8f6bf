package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/saga"
)

// diagram opens no store: the manifest has all of it.
func (t *tool) diagram() *cobra.Command {
	var manifest, name, version, format string
	cmd := &cobra.Command{
		Use: "diagram --manifest FILE --saga NAME", Short: "Draw a saga of a build: the way forward, the undos, the pivot", Args: cobra.NoArgs,
		PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
		PersistentPostRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(*cobra.Command, []string) error {
			shapes, err := readManifest(manifest)
			if err != nil {
				return err
			}
			s, err := shapeNamed(shapes, name, version)
			if err != nil {
				return err
			}
			d, err := saga.Diagram(s, format)
			if err != nil {
				return err
			}
			if t.json {
				return t.print(map[string]string{"saga": s.Name, "version": s.Version, "format": format, "diagram": d})
			}
			_, err = fmt.Fprint(t.out, d)
			return err
		},
	}
	manifestFlag(cmd, &manifest)
	cmd.Flags().StringVar(&name, "saga", "", "name of the saga (not needed if there is only one)")
	cmd.Flags().StringVar(&version, "version", "", "of the saga, if the manifest has several (default: the last one in it)")
	cmd.Flags().StringVar(&format, "format", saga.Mermaid, "what to draw: "+saga.Mermaid+" or "+saga.SVG)
	return cmd
}

// shapeNamed is the last saga of a manifest with a name and a version; "" is any.
func shapeNamed(shapes []saga.Shape, name, version string) (saga.Shape, error) {
	var found []saga.Shape
	var all []string
	for _, s := range shapes {
		all = append(all, s.Name+"@"+s.Version)
		if (name == "" || s.Name == name) && (version == "" || s.Version == version) {
			found = append(found, s)
		}
	}
	other := func(s saga.Shape) bool { return s.Name != found[0].Name }
	switch {
	case len(found) == 0:
		return saga.Shape{}, fmt.Errorf("the manifest has no such saga: it has %s", strings.Join(all, ", "))
	case slices.ContainsFunc(found, other):
		return saga.Shape{}, fmt.Errorf("which saga? pass --saga: the manifest has %s", strings.Join(all, ", "))
	}
	return found[len(found)-1], nil
}
