package analysis

// outputOfSibling: what stands in one group runs beside each other, so whether
// the output of one is there when another reads it depends on who was quicker.
var outputOfSibling = rule{"output-of-sibling", func(s *source) {
	s.reads(func(r *read) {
		if r.how != beside {
			return
		}
		s.report(r.sel, "%s reads the output of step %s, which runs beside it in the group %s and may not be done: read it in a step after the group, or declare %s before the group",
			r.part, r.step.label(), r.group.label(), r.step.label())
	})
}}
