// The list of chats, the open chat, and what its person does.

const byId = id => document.getElementById(id);
const ask = async (path, options) => {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error?.message ?? `${answer.status}`);
  return body;
};
const tell = (path, body) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

let accounts = {};
let chats = [];
let open = null;      // { channel, user }
let shown = "";       // what of the open chat is drawn
let friendship = null;

const toast = text => {
  const line = byId("toast");
  line.textContent = text;
  line.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { line.hidden = true; }, 3500);
};

const hue = name => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
const icon = (element, name) => {
  element.textContent = [...name.replace(/^@/, "")][0]?.toUpperCase() ?? "?";
  element.style.background = `hsl(${hue(name)} 45% 45%)`;
  return element;
};
const accountName = channel => accounts[channel]?.name ?? channel;
const clock = at => new Date(at).toLocaleTimeString("zh-TW", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "Asia/Taipei" });
const day = at => new Date(at).toLocaleDateString("zh-TW", { month: "long", day: "numeric", weekday: "short", timeZone: "Asia/Taipei" });
const hash = (channel, user) => `#${encodeURIComponent(channel)}/${encodeURIComponent(user)}`;

// The list

const drawList = () => {
  const words = byId("search").value.trim().toLowerCase();
  const fits = chat => `${accountName(chat.channel)} ${chat.channel} ${chat.name} ${chat.user}`.toLowerCase().includes(words);
  const lines = chats.filter(fits).map(chat => {
    const line = el("button", "", icon(el("span", "icon"), accountName(chat.channel)),
      el("b", "", `${accountName(chat.channel)}　${chat.name}`), el("time", "", clock(chat.at)),
      el("span", "last", summary(chat.last)));
    if (open && chat.channel === open.channel && chat.user === open.user) line.setAttribute("aria-current", "true");
    line.addEventListener("click", () => { location.hash = hash(chat.channel, chat.user); });
    return line;
  });
  byId("chats").replaceChildren(...(lines.length ? lines : [el("p", "", words ? "沒有符合的聊天" : "還沒有人說過話")]));
};

const list = async () => {
  for (;;) {
    try {
      chats = await ask("/sandbox/chats");
      drawList();
    } catch { /* The stand-in is away: asked again soon. */ }
    await new Promise(done => setTimeout(done, 2000));
  }
};

// The chat

const entryOf = (entry, before) => {
  const { message } = entry;
  const mine = entry.by === "person";
  if (entry.unsent) return el("li", "event", el("span", "", "已收回訊息"));
  if (mine && !entry.id && !(message.type === "postback" && message.postback?.displayText)) {
    return el("li", "event", el("span", "", eventText(message)));
  }
  const said = mine && !entry.id ? { type: "text", text: message.postback.displayText } : message;
  const own = mine && entry.id ? `/sandbox/media/${encodeURIComponent(open.channel)}/${encodeURIComponent(entry.id)}` : null;
  const line = el("div", "row", drawMessage(said, act, own), el("time", "", clock(entry.at)));
  if (mine && entry.id) {
    const unsend = el("button", "unsend", "收回");
    unsend.addEventListener("click", () => does({ unsend: { message: entry.id } }));
    line.append(unsend);
  }
  const name = message.sender?.name ?? accountName(open.channel);
  const follows = before && before.by === entry.by && before.id && !before.unsent
    && (before.message.sender?.name ?? accountName(open.channel)) === name;
  const from = message.sender?.name ? `${name} from ${accountName(open.channel)}` : name;
  const whole = el("div", "whole", mine || follows ? null : el("div", "from", from), line);
  const item = el("li", `${mine ? "mine" : "theirs"}${follows ? " follows" : ""}`);
  if (!mine) {
    const face = icon(el("span", "icon"), name);
    face.title = message.sender?.iconUrl ?? "";
    item.append(face);
  }
  item.append(whole);
  return item;
};

const draw = chat => {
  friendship = chat.friendship;
  byId("person-name").textContent = `${chat.name}　${open.user}`;
  const blocked = friendship === "blocked";
  byId("block").textContent = blocked ? "解除封鎖" : friendship === "friend" ? "封鎖" : "加入好友";
  const now = JSON.stringify([chat.entries, Object.keys(accounts).length]);
  if (now === shown) return;
  shown = now;
  const log = byId("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 120;
  const lines = [];
  let last = "";
  chat.entries.forEach((entry, index) => {
    if (day(entry.at) !== last) {
      last = day(entry.at);
      lines.push(el("li", "day", el("span", "", last)));
    }
    lines.push(entryOf(entry, chat.entries[index - 1]));
  });
  log.replaceChildren(...lines);
  const latest = chat.entries.at(-1);
  const items = latest?.by === "account" ? latest.message.quickReply?.items ?? [] : [];
  byId("quick").replaceChildren(...items.map(item => {
    const chip = el("button", "", item.action?.label ?? "");
    chip.addEventListener("click", () => act(item.action));
    return chip;
  }));
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  if (!atEnd) return;
  toEnd();
  // A picture has its height when it is there.
  for (const image of log.querySelectorAll("img")) image.addEventListener("load", toEnd, { once: true });
};

const follow = async here => {
  let changes = "";
  while (open === here) {
    try {
      const path = `/sandbox/chats/${encodeURIComponent(here.channel)}/${encodeURIComponent(here.user)}`;
      const chat = await ask(`${path}${changes === "" ? "" : `?changes=${changes}`}`);
      changes = chat.changes;
      if (open === here) draw(chat);
    } catch {
      await new Promise(done => setTimeout(done, 1500));
    }
  }
};

const drawMenu = () => {
  const tabs = accounts[open.channel]?.menu ?? [];
  const menu = byId("menu");
  const show = chosen => {
    const heads = tabs.map(tab => {
      const head = el("button", "", tab.label);
      head.setAttribute("role", "tab");
      head.setAttribute("aria-selected", String(tab === chosen));
      head.addEventListener("click", () => { does({ tap: { data: tab.data } }); show(tab); });
      return head;
    });
    const items = (chosen?.items ?? []).map(item => {
      const tap = el("button", "", item.label);
      tap.addEventListener("click", () => does({ tap: { data: item.data } }));
      return tap;
    });
    menu.replaceChildren(el("div", "tabs", ...heads), ...(items.length ? [el("div", "items", ...items)] : []));
  };
  show(tabs[0]);
  byId("menu-toggle").hidden = tabs.length === 0;
};

const openChat = () => {
  const [channel, user] = location.hash.slice(1).split("/").map(decodeURIComponent);
  open = channel && user ? { channel, user } : null;
  document.body.classList.toggle("open", open !== null);
  byId("phone").hidden = open === null;
  byId("nothing").hidden = open !== null;
  drawList();
  if (!open) return;
  shown = "";
  byId("log").replaceChildren();
  byId("quick").replaceChildren();
  byId("account-name").textContent = accountName(open.channel);
  icon(byId("account-icon"), accountName(open.channel));
  drawMenu();
  follow(open);
};

// What the person does

const does = async act => {
  if (!open) return;
  try {
    const acted = await tell("/sandbox/act", { ...open, act });
    if (acted.status === null) toast("這個帳號沒有 webhook：沒有人聽見（serve --webhooks …）");
    else if (acted.status < 200 || acted.status > 299) toast(`webhook 回答 ${acted.status || "無"}`);
  } catch (error) {
    toast(error.message);
  }
};

const asked = dialog => new Promise(done => {
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  dialog.showModal();
});

const choose = accept => new Promise(done => {
  const file = byId("file");
  file.value = "";
  file.accept = accept;
  file.onchange = () => done(file.files[0]);
  file.click();
});

const sendFile = async file => {
  if (!file) return;
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let place = 0; place < bytes.length; place += 32768) text += String.fromCharCode(...bytes.subarray(place, place + 32768));
  await does({ send: { media_type: file.type || "application/octet-stream", data: btoa(text), name: file.name } });
};

/** What a tap on a button, a card or a quick reply does. */
const act = async action => {
  switch (action?.type) {
    case "message": return does({ say: { text: action.text } });
    case "postback": {
      await does({ tap: { data: action.data, display_text: action.displayText ?? action.text ?? null } });
      if (action.fillInText) { byId("text").value = action.fillInText; byId("text").focus(); }
      return;
    }
    case "datetimepicker": {
      const field = byId("moment-value");
      field.type = { date: "date", time: "time" }[action.mode] ?? "datetime-local";
      field.value = action.initial ?? "";
      field.min = action.min ?? "";
      field.max = action.max ?? "";
      const kind = { date: "date", time: "time" }[action.mode] ?? "datetime";
      if (await asked(byId("moment")) && field.value) await does({ tap: { data: action.data, params: { [kind]: field.value } } });
      return;
    }
    case "clipboard":
      await navigator.clipboard?.writeText(action.clipboardText).catch(() => {});
      return toast(`已複製　${action.clipboardText}`);
    case "camera":
    case "cameraRoll": return sendFile(await choose("image/*"));
    case "location": return does({ location: { latitude: 25.0339, longitude: 121.5645, address: "台北市信義區信義路五段 7 號" } });
    case "uri": return toast(`開啟　${action.uri}`);
    default: return toast("這個按鈕沒有動作");
  }
};

byId("say").addEventListener("submit", event => {
  event.preventDefault();
  const field = byId("text");
  if (!field.value.trim()) return;
  does({ say: { text: field.value } });
  field.value = "";
  field.style.height = "";
});
byId("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("say").requestSubmit();
  }
});
byId("text").addEventListener("input", event => {
  event.target.style.height = "";
  event.target.style.height = `${event.target.scrollHeight}px`;
});
byId("menu-toggle").addEventListener("click", () => {
  const menu = byId("menu");
  menu.hidden = !menu.hidden;
  byId("menu-toggle").setAttribute("aria-expanded", String(!menu.hidden));
});
byId("picture").addEventListener("click", async () => sendFile(await choose("")));
byId("block").addEventListener("click", () => does(friendship === "friend" ? "block" : "follow"));
byId("back").addEventListener("click", () => { location.hash = ""; });
byId("search").addEventListener("input", drawList);
byId("scan").addEventListener("click", async () => {
  byId("code").value = "";
  byId("code-picture").value = "";
  if (await asked(byId("scanner")) && byId("code").value.trim()) await does({ scan: { text: byId("code").value.trim() } });
});
byId("code-picture").addEventListener("change", async event => {
  const file = event.target.files[0];
  if (!file) return;
  try {
    const image = await createImageBitmap(file);
    const canvas = el("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    const png = await new Promise(done => canvas.toBlob(done, "image/png"));
    byId("code").value = (await ask("/sandbox/scan", { method: "POST", body: png })).text;
  } catch (error) {
    toast(error.message);
  }
});
byId("newcomer").addEventListener("click", async () => {
  byId("begin-account").replaceChildren(...Object.entries(accounts).map(([channel, account]) => {
    const option = el("option", "", account.name === channel ? channel : `${account.name}（${channel}）`);
    option.value = channel;
    return option;
  }));
  if (!await asked(byId("begin"))) return;
  const name = byId("begin-name").value.trim();
  if (!name) return;
  try {
    const { user } = await tell("/sandbox/people", { name });
    location.hash = hash(byId("begin-account").value, user);
    openChat();
    await does("follow");
  } catch (error) {
    toast(error.message);
  }
});

addEventListener("hashchange", openChat);
ask("/sandbox/accounts").then(known => { accounts = known; openChat(); list(); }, error => toast(error.message));
