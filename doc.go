// Package clew holds nothing but the tests of the module as a whole. Begin
// with package saga, or with package durable below it.
package clew
