// Reorders the pictures that are shown. Without scripts they stay in the order in which they were written.
(() => {
  const controls = document.getElementById("sorting"), list = document.getElementById("cards");
  if (!controls || !list) return;
  const [score, decoder, order] = ["score", "decoder", "order"].map((name) => document.getElementById("sort-" + name));
  const cards = [...list.children].map((card) => ({ card, scores: JSON.parse(card.dataset.scores) }));
  const sort = () => {
    // 1 where high values are good; the worst come first unless asked otherwise.
    const better = Number(score.selectedOptions[0].dataset.better) * (order.value === "worst" ? 1 : -1);
    const value = (entry) => entry.scores[decoder.value]?.[score.value] ?? null;
    const missing = (entry) => value(entry) === null;
    const sorted = [...cards].sort((a, b) => missing(a) - missing(b) || better * (value(a) - value(b)));
    list.append(...sorted.map((entry) => entry.card));
  };
  [score, decoder, order].forEach((control) => control.addEventListener("change", sort));
  controls.hidden = false;
})();
