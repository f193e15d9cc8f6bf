package analysis

// outputOfLaterStep: steps run in the order of their declarations, so the
// output of one that is declared further down is not there yet. An undo may
// run after it, and ask with Get whether it came to that.
var outputOfLaterStep = rule{"output-of-later-step", func(s *source) {
	s.reads(func(r *read) {
		switch {
		case r.how != later || r.part.role == sagaUndo && !r.of():
		case r.step == r.part.item && r.part.role == sagaUndo:
			s.report(r.sel, "%s reads the step's own output with Of, which parks when the step is in doubt: use what the undo is handed, or Get", r.part)
		case r.step == r.part.item:
			s.report(r.sel, "%s reads the step's own output, which is not there before the step has ended", r.part)
		default:
			s.report(r.sel, "%s reads the output of step %s, which runs only after it (line %d): declare %s first",
				r.part, r.step.label(), s.line(r.step.at()), r.step.label())
		}
	})
}}
