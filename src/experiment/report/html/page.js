/* Convenience only: the page is whole without it. Arms can be hidden, and everything is printed. */
(function () {
  "use strict";
  document.querySelectorAll("ul.looks li").forEach(function (item) {
    var button = document.createElement("button");
    button.type = "button";
    button.title = "show or hide in plots and tables";
    button.setAttribute("aria-pressed", "true");
    while (item.firstChild) button.appendChild(item.firstChild);
    item.appendChild(button);
    button.addEventListener("click", function () {
      var shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      document.querySelectorAll(".of-" + item.dataset.arm).forEach(function (part) {
        part.classList.toggle("off", !shown);
      });
    });
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
})();
