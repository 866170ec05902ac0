// Light or dark: the system's choice, until the user chooses.

const KEY = "poolhouse.theme";

/** Apply the stored choice, and let the button change it. */
export function begin(button) {
  apply(stored());
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // A browser may forbid storage: the choice then lasts until the page is closed.
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
