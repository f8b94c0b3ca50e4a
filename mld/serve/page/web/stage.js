// The links follow the sample and the joint names that are chosen.
const which = document.getElementById("which");
const names = document.getElementById("names");

function follow() {
  const stem = which.selectedOptions[0].dataset.stem;
  for (const link of document.querySelectorAll("#kinds a")) {
    const query = "named" in link.dataset && names.value !== "own" ? `?names=${names.value}` : "";
    link.href = `${which.value}/${stem}.${link.dataset.kind}${query}`;
  }
}

which.addEventListener("change", follow);
names.addEventListener("change", follow);
