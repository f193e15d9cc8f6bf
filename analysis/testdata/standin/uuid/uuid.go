// Package uuid stands in for the packages of that name.
package uuid

type UUID [16]byte

func NewString() string { return "" }

func NewSHA1(space UUID, data []byte) UUID { return space }
