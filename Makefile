# For those who have make: each line calls start.py, which does the work on every system.
# Variables: PYTHON=python3.12  ARGS=--no-browser  JOBS=4  TORCH_INDEX=<address> (see README)
# and for teachers ASSIGNMENT, SUBMISSIONS, CLASS, COURSE, UNSAFE, ROOT (see
# notebooks/assignment/README.md)
PYTHON ?= python3
COMMANDS := help lab install test check lint run page site handout notebooks pretrained smallest pictures clean
GRADING = $(if $(COURSE),--course "$(COURSE)") $(if $(CLASS),--class "$(CLASS)") $(if $(JOBS),--jobs $(JOBS)) \
  $(if $(UNSAFE),--unsafe) $(if $(ROOT),--as-root)

.PHONY: $(COMMANDS) grade mark
$(COMMANDS):
	@$(PYTHON) start.py $@ $(ARGS)
grade:
	@$(PYTHON) start.py grade $(if $(SUBMISSIONS),"$(SUBMISSIONS)" $(GRADING) $(ARGS))
mark:
	@$(PYTHON) start.py mark $(if $(COURSE),"$(COURSE)") $(ARGS)
