"use strict";
// Flex messages as cards: containers, boxes and components, by LINE's own sizes.

const el = (tag, className, ...children) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};

/** A picture from elsewhere is never loaded: its file's name stands in its place. */
const placeholder = (sign, url) => {
  const name = String(url ?? "").split(/[?#]/)[0].split("/").filter(Boolean).pop() ?? "";
  const box = el("div", "placeholder", el("b", "", sign), el("span", "", decodeName(name)));
  box.title = String(url ?? "");
  return box;
};
const decodeName = name => { try { return decodeURIComponent(name); } catch { return name; } };

const BUBBLE = { nano: 120, micro: 160, deca: 220, hecto: 241, kilo: 260, mega: 300, giga: 386 };
const SPACE = { none: 0, xs: 2, sm: 4, md: 8, lg: 12, xl: 16, xxl: 20 };
const FONT = { xxs: 11, xs: 13, sm: 14, md: 16, lg: 19, xl: 22, xxl: 29, "3xl": 35, "4xl": 48, "5xl": 74 };
const ICON = { xxs: 11, xs: 13, sm: 14, md: 16, lg: 19, xl: 22, xxl: 29, "3xl": 35, "4xl": 48, "5xl": 74 };
const IMAGE = { xxs: 40, xs: 60, sm: 80, md: 100, lg: 120, xl: 140, xxl: 160, "3xl": 180, "4xl": 200, "5xl": 220 };
const CORNER = { none: 0, xs: 2, sm: 4, md: 8, lg: 12, xl: 16, xxl: 20 };
const BORDER = { none: 0, light: .5, normal: 1, medium: 2, "semi-bold": 3, bold: 4 };
const PLACE = { start: "flex-start", end: "flex-end", center: "center", top: "flex-start", bottom: "flex-end" };

const length = (value, words) =>
  value === undefined ? "" : value in words ? `${words[value]}px` : String(value);
const colour = value => /^#[0-9a-f]{6}([0-9a-f]{2})?$/i.test(value ?? "") ? value : "";

const flex = (contents, act) => {
  if (contents.type === "carousel") {
    return el("div", "cards", ...(contents.contents ?? []).map(bubble => flexBubble(bubble, act)));
  }
  return flexBubble(contents, act);
};

const flexBubble = (bubble, act) => {
  const card = el("div", "card");
  card.style.width = `${BUBBLE[bubble.size] ?? BUBBLE.mega}px`;
  card.dir = bubble.direction ?? "ltr";
  card.style.display = "flex";
  card.style.flexDirection = "column";
  const padding = { header: "20px", hero: "0", body: "20px", footer: "10px" };
  for (const block of ["header", "hero", "body", "footer"]) {
    if (!bubble[block]) continue;
    const style = bubble.styles?.[block] ?? {};
    const part = el("div", "", flexPart(bubble[block], act, "vertical", padding[block]));
    part.style.background = colour(style.backgroundColor);
    if (style.separator) part.style.borderTop = `1px solid ${colour(style.separatorColor) || "#d4d6da"}`;
    if (block === "body") part.style.flex = "1";
    card.append(part);
  }
  return tappable(card, bubble.action, act);
};

const tappable = (element, action, act) => {
  if (!action) return element;
  element.style.cursor = "pointer";
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  const tap = event => { event.stopPropagation(); act(action); };
  element.addEventListener("click", tap);
  element.addEventListener("keydown", event => { if (event.key === "Enter") tap(event); });
  return element;
};

/** One component, placed in a box of that layout. */
const flexPart = (part, act, layout, padding) => {
  const draw = FLEX[part.type];
  const element = draw ? draw(part, act, layout, padding) : el("span", "gone", `[${part.type}]`);
  const style = element.style;
  const across = layout !== "vertical";
  if (part.flex !== undefined) style.flex = part.flex === 0 ? "0 0 auto" : `${part.flex} ${part.flex} 0`;
  else if (across && !["icon", "separator"].includes(part.type)) style.flex = part.width ? "0 0 auto" : "1 1 0";
  else if (part.type === "filler") style.flex = "1 1 0";
  if (across) style.minWidth = 0;
  if (part.margin) style[across ? "marginInlineStart" : "marginTop"] = length(part.margin, SPACE);
  if (part.position === "absolute") style.position = "absolute";
  for (const [name, side] of [["offsetTop", "top"], ["offsetBottom", "bottom"], ["offsetStart", "insetInlineStart"], ["offsetEnd", "insetInlineEnd"]]) {
    if (part[name] === undefined) continue;
    if (!style.position) style.position = "relative";
    style[side] = length(part[name], SPACE);
  }
  if (across && part.gravity) style.alignSelf = PLACE[part.gravity];
  return tappable(element, part.type === "button" ? null : part.action, act);
};

const textStyle = (element, part) => {
  const style = element.style;
  if (part.size) style.fontSize = length(part.size, FONT);
  if (part.color) style.color = colour(part.color);
  if (part.weight === "bold") style.fontWeight = "700";
  if (part.style === "italic") style.fontStyle = "italic";
  if (part.decoration) style.textDecoration = part.decoration;
};

const FLEX = {
  box(part, act, _, padding) {
    const box = el("div", "");
    const style = box.style;
    style.display = "flex";
    style.position = "relative";
    style.flexDirection = part.layout === "vertical" ? "column" : "row";
    style.alignItems = part.layout === "baseline" ? "baseline" : part.alignItems ?? "stretch";
    if (part.justifyContent) style.justifyContent = part.justifyContent;
    if (part.spacing) style.gap = length(part.spacing, SPACE);
    style.padding = part.paddingAll === undefined ? padding ?? "" : length(part.paddingAll, SPACE);
    for (const [name, side] of [["paddingTop", "paddingTop"], ["paddingBottom", "paddingBottom"], ["paddingStart", "paddingInlineStart"], ["paddingEnd", "paddingInlineEnd"]]) {
      if (part[name] !== undefined) style[side] = length(part[name], SPACE);
    }
    style.backgroundColor = colour(part.backgroundColor);
    if (part.background?.type === "linearGradient") {
      const { angle, startColor, centerColor, centerPosition, endColor } = part.background;
      const middle = centerColor ? `${colour(centerColor)} ${centerPosition ?? "50%"}, ` : "";
      style.backgroundImage = `linear-gradient(${angle}, ${colour(startColor)}, ${middle}${colour(endColor)})`;
    }
    if (part.cornerRadius) { style.borderRadius = length(part.cornerRadius, CORNER); style.overflow = "hidden"; }
    if (part.borderWidth) style.border = `${length(part.borderWidth, BORDER)} solid ${colour(part.borderColor) || "#b7b7b7"}`;
    for (const side of ["width", "height", "maxWidth", "maxHeight"]) if (part[side]) style[side] = part[side];
    box.append(...(part.contents ?? []).map(child => flexPart(child, act, part.layout)));
    return box;
  },
  text(part) {
    const text = el("div", "");
    if (part.contents) {
      for (const span of part.contents) {
        const piece = el("span", "", span.text ?? "");
        textStyle(piece, span);
        text.append(piece);
      }
    } else text.textContent = part.text;
    textStyle(text, part);
    const style = text.style;
    if (!part.size) style.fontSize = `${FONT.md}px`;
    style.textAlign = part.align ?? "";
    style.lineHeight = part.lineSpacing ? `calc(1.3em + ${part.lineSpacing})` : "1.35";
    style.whiteSpace = part.wrap ? "pre-wrap" : "nowrap";
    style.overflow = "hidden";
    if (part.wrap) style.overflowWrap = "anywhere"; else style.textOverflow = "ellipsis";
    if (part.maxLines) Object.assign(style, { display: "-webkit-box", webkitBoxOrient: "vertical", webkitLineClamp: String(part.maxLines) });
    return text;
  },
  button(part, act) {
    const button = el("button", "", part.action?.label ?? "");
    const style = button.style;
    style.width = "100%";
    style.minHeight = part.height === "sm" ? "40px" : "52px";
    style.fontWeight = "600";
    const own = colour(part.color);
    if (part.style === "primary") Object.assign(style, { background: own || "#17c950", color: "#fff" });
    else if (part.style === "secondary") Object.assign(style, { background: own || "#dcdfe5", color: "#111" });
    else style.color = own || "#42659a";
    button.addEventListener("click", event => { event.stopPropagation(); act(part.action); });
    return button;
  },
  image(part) {
    const image = placeholder("🖼", part.url);
    const style = image.style;
    const [width, height] = String(part.aspectRatio ?? "1:1").split(":").map(Number);
    style.width = part.size === "full" ? "100%" : length(part.size ?? "md", IMAGE);
    style.maxWidth = "100%";
    style.minHeight = 0;
    style.aspectRatio = `${width} / ${height}`;
    style.alignSelf = PLACE[part.align ?? "center"];
    if (part.backgroundColor) style.backgroundColor = colour(part.backgroundColor);
    return image;
  },
  video(part, act) {
    const video = placeholder("▶", part.previewUrl);
    video.style.aspectRatio = String(part.aspectRatio ?? "1:1").replace(":", " / ");
    if (part.action) video.append(FLEX.button({ action: part.action }, act));
    return video;
  },
  icon(part) {
    const icon = el("span", "", "★");
    icon.title = part.url ?? "";
    icon.style.fontSize = length(part.size ?? "md", ICON);
    icon.style.color = "#f5b301";
    return icon;
  },
  separator(part, _, layout) {
    const line = el("div", "");
    line.style.background = colour(part.color) || "#d4d6da";
    line.style.flex = "none";
    line.style[layout === "vertical" ? "height" : "width"] = "1px";
    return line;
  },
  filler: () => el("div", ""),
};
