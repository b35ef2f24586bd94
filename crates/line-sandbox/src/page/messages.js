// Every other message, of either side.

const ACTIONS = (actions, act, pair) => {
  const buttons = (actions ?? []).map(action => {
    const button = el("button", "", action.label ?? "");
    button.addEventListener("click", () => act(action));
    return button;
  });
  return el("div", pair ? "actions pair" : "actions", ...buttons);
};

const templateCard = (card, act) => {
  const head = card.thumbnailImageUrl ? placeholder("🖼", card.thumbnailImageUrl) : null;
  const body = el("div", "card", head ? tappable(head, card.defaultAction, act) : null,
    card.title ? el("h3", "", card.title) : null, el("p", "text", card.text ?? ""));
  body.append(ACTIONS(card.actions, act, false));
  return body;
};

const TEMPLATES = {
  buttons: templateCard,
  confirm: (card, act) => el("div", "card", el("p", "text", card.text ?? ""), ACTIONS(card.actions, act, true)),
  carousel: (row, act) => el("div", "cards", ...(row.columns ?? []).map(card => templateCard(card, act))),
  image_carousel: (row, act) => el("div", "cards", ...(row.columns ?? []).map(card => {
    const picture = placeholder("🖼", card.imageUrl);
    picture.append(el("span", "", card.action?.label ?? ""));
    return tappable(el("div", "card", picture), card.action, act);
  })),
};

const bubble = (...children) => el("div", "bubble", ...children);
const picture = (sign, url) => {
  const box = placeholder(sign, url);
  box.classList.add("picture");
  return box;
};
const minutes = ms => `${Math.floor(ms / 60000)}:${String(Math.round(ms / 1000) % 60).padStart(2, "0")}`;

/** What a message looks like; `own` is the address of what the person sent. */
const drawMessage = (message, act, own) => {
  switch (message.type) {
    case "text": return bubble(message.text ?? "");
    case "textV2": return bubble(String(message.text ?? "").replace(/\{(\w+)\}/g, (whole, key) => {
      const known = message.substitution?.[key];
      return known?.type === "mention" ? `@${known.mentionee?.userId ?? "All"}` : known ? "🙂" : whole;
    }).replace(/\{\{/g, "{").replace(/\}\}/g, "}"));
    case "sticker": {
      const faces = ["🐻", "🐰", "🐱", "🐶", "🐼", "🦊", "🐤", "🐸"];
      const sticker = el("div", "sticker", faces[Number(message.stickerId) % faces.length] ?? "🐻",
        el("small", "", `${message.packageId}/${message.stickerId}`));
      return sticker;
    }
    case "image": {
      if (!own) return picture("🖼", message.originalContentUrl);
      const image = el("img", "picture");
      image.src = own;
      image.alt = "圖片";
      return image;
    }
    case "video": return picture("▶", message.originalContentUrl ?? "影片");
    case "audio": return bubble(`🔊 語音訊息 ${minutes(message.duration ?? 0)}`);
    case "file": return bubble(el("span", "file", el("b", "", "📄"),
      el("span", "", message.fileName ?? "檔案", el("small", "", `${message.fileSize ?? 0} B`))));
    case "location": return el("div", "card", placeholder("📍", ""), el("h3", "", message.title ?? "位置資訊"),
      el("p", "text", message.address ?? ""));
    case "imagemap": {
      const map = placeholder("🖼", message.baseUrl);
      map.append(el("span", "", message.altText ?? ""));
      const labels = (message.actions ?? []).map(action => ({
        ...action, label: action.label ?? action.text ?? action.linkUri ?? action.clipboardText, uri: action.linkUri,
      }));
      return el("div", "card", map, ACTIONS(labels, act, false));
    }
    case "template": return TEMPLATES[message.template?.type]?.(message.template, act) ?? bubble(message.altText ?? "");
    case "flex": return flex(message.contents ?? {}, act);
    case "coupon": return el("div", "card", placeholder("🎟", ""), el("h3", "", "優惠券"), el("p", "text", message.couponId ?? ""));
    default: return bubble(`[${message.type}]`);
  }
};

/** What a person did that is no message; null where a bubble shows it. */
const eventText = event => {
  switch (event.type) {
    case "follow": return "已加入好友";
    case "unfollow": return "已封鎖這個帳號";
    case "postback": return event.postback?.displayText ? null : `點選　${event.postback?.data ?? ""}`;
    case "accountLink": return "帳號已連結";
    default: return `［${event.type}］`;
  }
};

/** One line for the list of chats. */
const summary = message => {
  if (!message) return "";
  const known = { sticker: "貼圖", image: "圖片", video: "影片", audio: "語音訊息", file: "檔案", location: "位置資訊", coupon: "優惠券" };
  if (message.text) return message.text;
  if (message.altText) return message.altText;
  return known[message.type] ? `［${known[message.type]}］` : eventText(message) ?? message.postback?.displayText ?? "";
};
