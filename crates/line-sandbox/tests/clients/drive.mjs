// Drives the stand-in with LINE's official Node client, and reads what its webhook sender sends.
//
// Prints one JSON object a line: where it listens for webhooks, for each line of stdin what came until then, and when stdin
// ends what came of each step.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";

const [folder, asked] = process.argv.slice(2);
const { channelAccessToken, messagingApi, validateSignature } = createRequire(`${folder}/`)("@line/bot-sdk");
const wanted = JSON.parse(asked);
const { base, user, secret } = wanted;

const out = { posts: 0, kinds: {}, redelivered: 0, unsigned: 0, unreadable: 0 };
const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  if (!validateSignature(body, secret, request.headers["x-line-signature"])) out.unsigned += 1;
  out.posts += 1;
  for (const event of JSON.parse(body.toString("utf8")).events) {
    out.kinds[event.type] = (out.kinds[event.type] ?? 0) + 1;
    if (event.deliveryContext?.isRedelivery) out.redelivered += 1;
  }
  response.end();
});
await new Promise(done => server.listen(0, "127.0.0.1", done));
console.log(JSON.stringify({ webhooks: `http://127.0.0.1:${server.address().port}` }));
for await (const _ of createInterface(process.stdin)) console.log(JSON.stringify(out));

const oauth = new channelAccessToken.ChannelAccessTokenClient({ baseURL: base });
const token = await oauth.issueStatelessChannelTokenByClientSecret(wanted.channel, secret);
out.expires_in = token.expires_in;
const line = new messagingApi.MessagingApiClient({ channelAccessToken: token.access_token, baseURL: base });
const blob = new messagingApi.MessagingApiBlobClient({ channelAccessToken: token.access_token, baseURL: base });

const messages = [
  { type: "text", text: "已收到 ✨", sender: { name: "曜侖", iconUrl: "https://example.com/i.png" },
    quickReply: { items: [{ type: "action", action: { type: "message", label: "好", text: "好" } }] } },
  { type: "flex", altText: "維修單", contents: { type: "carousel", contents: [
    { type: "bubble", body: { type: "box", layout: "vertical", contents: [{ type: "text", text: "手錶維修" }] } }] } },
  { type: "template", altText: "確認", template: { type: "confirm", text: "好嗎？", actions: [
    { type: "message", label: "好", text: "好" }, { type: "postback", label: "不好", data: "no=1" }] } },
  { type: "textV2", text: "{who} 您好", substitution: { who: { type: "emoji", productId: "5ac1", emojiId: "001" } } },
  { type: "audio", originalContentUrl: "https://example.com/a.m4a", duration: 60000 },
];
const refused = async call => {
  try { await call(); } catch (error) { return error; }
  throw new Error("it was taken");
};
const key = randomUUID();
out.sent = (await line.pushMessage({ to: user, messages }, key)).sentMessages.length;
const again = await refused(() => line.pushMessage({ to: user, messages }, key));
out.again = [again.status, again.headers.has("x-line-accepted-request-id")];
const reply = { replyToken: wanted.reply_token, messages: [messages[0]] };
out.replied = (await line.replyMessage(reply)).sentMessages.length;
const twice = await refused(() => line.replyMessage(reply));
out.reply_again = [twice.status, JSON.parse(twice.body).message];
await line.multicast({ to: [user, `U${"0".repeat(32)}`], messages: [messages[0]] });
await line.broadcast({ messages: [messages[0]] });
await line.validatePush({ messages });
const invalid = await refused(() => line.validatePush({ messages: [{ type: "text", text: "" }] }));
out.invalid = [invalid.status, JSON.parse(invalid.body).details[0].property];
const [quota, used] = [await line.getMessageQuota(), await line.getMessageQuotaConsumption()];
out.quota = [quota.type, quota.value, used.totalUsage];
const profile = await line.getProfile(user);
out.profile = [profile.userId, profile.displayName];
out.bot = (await line.getBotInfo()).userId;
out.link_token = (await line.issueLinkToken(user)).linkToken.length;
const chunks = [];
for await (const chunk of await blob.getMessageContent(wanted.message)) chunks.push(chunk);
out.content = Buffer.concat(chunks).toString("hex");
console.log(JSON.stringify(out));
server.close();
