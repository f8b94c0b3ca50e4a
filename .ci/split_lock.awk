# Splits requirements.all in two: what comes with a build of torch, and everything else. `torch` is a pattern.
BEGIN {
    print "# Everything but torch, with hashes. Written by `make lock`; how to install it: CONTRIBUTING.md." > "requirements.lock"
    print "# torch and what its default build brings. Leave it out to use a build of your own." > "requirements-torch.lock"
}
/^[A-Za-z0-9]/ { file = ($0 ~ torch) ? "requirements-torch.lock" : "requirements.lock" }
file { print > file }
