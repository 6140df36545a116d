// Package webapp holds the built web app, so that the manager is one file.
//
// The folder dist is written by `npm run build` and is not committed, but for a placeholder that lets Go build
// before the web app was; Built tells the two apart. server/web serves FS.
package webapp

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// FS returns the files of the web app, index.html at the root.
func FS() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // only an invalid path can fail, and ours is a constant
	}
	return sub
}

// Built tells whether the web app was built into this binary.
func Built() bool {
	_, err := fs.Stat(FS(), "index.html")
	return err == nil
}
