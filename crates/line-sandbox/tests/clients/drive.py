"""Drives the stand-in with LINE's official Python client, and reads what its webhook sender sends.

Prints one JSON object a line: where it listens for webhooks, for each line of stdin what came until then, and when stdin
ends what came of each step.
"""

import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from linebot.v3.messaging import (
    ApiClient, ApiException, BroadcastRequest, ButtonsTemplate, Configuration, FlexContainer, FlexMessage, ImageMessage,
    LocationMessage, MessageAction, MessagingApi, MessagingApiBlob, MulticastRequest, PushMessageRequest, QuickReply,
    QuickReplyItem, ReplyMessageRequest, Sender, StickerMessage, TemplateMessage, TextMessage, URIAction,
    ValidateMessageRequest,
)
from linebot.v3.oauth import ApiClient as OauthApiClient, ChannelAccessToken, Configuration as OauthConfiguration
from linebot.v3.webhook import SignatureValidator, WebhookParser

wanted = json.loads(sys.argv[1])
base, user, secret = wanted["base"], wanted["user"], wanted["secret"]
came = {"posts": 0, "kinds": {}, "redelivered": 0, "unsigned": 0, "unreadable": 0}
lock = threading.Lock()


class Webhooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode("utf-8")
        signature = self.headers["x-line-signature"]
        signed = SignatureValidator(secret).validate(body, signature)
        try:
            WebhookParser(secret).parse(body, signature)
            readable = True
        except ValueError:  # A value that this client does not know.
            readable = False
        with lock:
            came["posts"] += 1
            came["unsigned"] += not signed
            came["unreadable"] += not readable
            for event in json.loads(body)["events"]:
                came["kinds"][event["type"]] = came["kinds"].get(event["type"], 0) + 1
                came["redelivered"] += event["deliveryContext"]["isRedelivery"]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Webhooks)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"webhooks": f"http://127.0.0.1:{server.server_port}"}), flush=True)
for _ in sys.stdin:
    print(json.dumps(came), flush=True)

out = dict(came)
oauth = ChannelAccessToken(OauthApiClient(OauthConfiguration(host=base)))
token = oauth.issue_stateless_channel_token(
    grant_type="client_credentials", client_id=wanted["channel"], client_secret=secret)
out["expires_in"] = token.expires_in
client = ApiClient(Configuration(host=base, access_token=token.access_token))
line = MessagingApi(client)
blob = MessagingApiBlob(ApiClient(Configuration(host=base, access_token=token.access_token)))

flex = FlexMessage(alt_text="維修單", contents=FlexContainer.from_dict({
    "type": "bubble", "size": "kilo",
    "hero": {"type": "image", "url": "https://example.com/a.png", "size": "full", "aspectRatio": "20:13", "aspectMode": "cover"},
    "body": {"type": "box", "layout": "vertical", "spacing": "md", "contents": [
        {"type": "text", "text": "手錶維修", "weight": "bold", "size": "xl", "wrap": True},
        {"type": "box", "layout": "baseline", "contents": [
            {"type": "icon", "url": "https://example.com/star.png", "size": "sm"},
            {"type": "text", "text": "4.0", "color": "#999999", "flex": 0}]},
        {"type": "separator", "margin": "lg"}]},
    "footer": {"type": "box", "layout": "vertical", "contents": [
        {"type": "button", "style": "primary", "action": {"type": "postback", "label": "進度", "data": "menu=store"}}]},
}))
messages = [
    TextMessage(text="已收到 ✨", sender=Sender(name="曜侖", icon_url="https://example.com/i.png"),
                quick_reply=QuickReply(items=[QuickReplyItem(action=MessageAction(label="好", text="好"))])),
    flex,
    TemplateMessage(alt_text="選單", template=ButtonsTemplate(text="請選", actions=[
        URIAction(label="商城", uri="https://example.com"), MessageAction(label="門市", text="門市")])),
    ImageMessage(original_content_url="https://example.com/a.jpg", preview_image_url="https://example.com/b.jpg"),
    StickerMessage(package_id="446", sticker_id="1988"),
]
key = str(uuid.uuid4())
push = PushMessageRequest(to=user, messages=messages)
sent = line.push_message(push, x_line_retry_key=key)
out["sent"] = len(sent.sent_messages)
try:
    line.push_message(push, x_line_retry_key=key)
except ApiException as error:
    out["again"] = [error.status, "x-line-accepted-request-id" in error.headers]
location = LocationMessage(title="門市", address="台北市", latitude=25.03, longitude=121.56)
out["replied"] = len(line.reply_message(ReplyMessageRequest(reply_token=wanted["reply_token"], messages=[location])).sent_messages)
try:
    line.reply_message(ReplyMessageRequest(reply_token=wanted["reply_token"], messages=[location]))
except ApiException as error:
    out["reply_again"] = [error.status, json.loads(error.body)["message"]]
line.multicast(MulticastRequest(to=[user, "U" + "0" * 32], messages=[TextMessage(text="多人")]))
line.broadcast(BroadcastRequest(messages=[TextMessage(text="全部")]))
line.validate_push(ValidateMessageRequest(messages=messages))
try:
    line.validate_push(ValidateMessageRequest(messages=[TextMessage(text="")]))
except ApiException as error:
    out["invalid"] = [error.status, json.loads(error.body)["details"][0]["property"]]
quota, used = line.get_message_quota(), line.get_message_quota_consumption()
out["quota"] = [quota.type, quota.value, used.total_usage]
profile = line.get_profile(user)
out["profile"] = [profile.user_id, profile.display_name]
out["bot"] = line.get_bot_info().user_id
out["link_token"] = len(line.issue_link_token(user).link_token)
out["content"] = bytes(blob.get_message_content(wanted["message"])).hex()
print(json.dumps(out), flush=True)
