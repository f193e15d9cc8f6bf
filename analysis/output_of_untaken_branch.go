package analysis

// outputOfUntakenBranch: outside of a branch nobody knows whether it was
// taken. If it was not, Of panics, which parks; Get says so.
var outputOfUntakenBranch = rule{"output-of-untaken-branch", func(s *source) {
	s.reads(func(r *read) {
		if r.how != unsure || !r.of() {
			return
		}
		var taken *item
		for _, scope := range r.step.path() {
			if scope.kind == aBranch {
				taken = scope
			}
		}
		s.report(r.sel, "%s reads the output of step %s outside of its branch %s, which may not have been taken: use Get",
			r.part, r.step.label(), taken.label())
	})
}}
