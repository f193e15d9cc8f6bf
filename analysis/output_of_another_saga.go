package analysis

// outputOfAnotherSaga: an output is found by the saga that it was declared
// in. In another one Of panics, which parks, and Get never has anything.
var outputOfAnotherSaga = rule{"output-of-another-saga", func(s *source) {
	s.reads(func(r *read) {
		if r.how != foreign {
			return
		}
		s.report(r.sel, "%s reads the output of step %s, which belongs to another saga (%s, line %d): it is never there; hand the value over in the saga's input, or declare the step in this saga",
			r.part, r.step.label(), r.step.path()[0].label(), s.line(r.step.path()[0].call.Pos()))
	})
}}
