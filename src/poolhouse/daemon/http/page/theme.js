// Light or dark: as the system says, until a person chooses.

const KEY = "poolhouse.theme";

/** Apply the choice of before, and let the button change it. */
export function begin(button) {
  apply(stored());
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // A browser may forbid storage: the choice then holds until the page is left.
    }
    apply(next);
  });
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function apply(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
