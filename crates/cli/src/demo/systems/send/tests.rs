//! The teller against a receiver that checks every request by hand, as another implementation of
//! the scheme would.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstem_domain::person::Business;
use mainstem_runtime::config::ClockConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// One request: its path, headers and body.
type Got = (String, BTreeMap<String, String>, String);

/// Answers 503 to the first request and 200 to all others.
async fn receive(listener: TcpListener, got: Arc<Mutex<Vec<Got>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let is_first = got.lock().unwrap().is_empty();
        let request = read(socket, is_first).await;
        got.lock().unwrap().push(request);
    }
}

async fn read(socket: TcpStream, refuse: bool) -> Got {
    let mut socket = BufReader::new(socket);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    let status = if refuse { "503 Service Unavailable" } else { "200 OK" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    socket.write_all(answer.as_bytes()).await.unwrap();
    (path, headers, String::from_utf8(body).unwrap())
}

fn told(id: &str, data: Value) -> Told {
    Told { id: id.to_owned(), kind: Business::OrderPlaced, time: None, data }
}

#[tokio::test]
async fn what_is_told_is_signed_retried_and_remembered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Vec::new()));
    let channel: ChannelId = "till-1".parse().unwrap();
    let clock = Clock::new(&ClockConfig { speed: 60.0, origin_real: None, origin_virtual: None });
    let teller = Teller::new(base, clock, [(channel.clone(), "key".to_owned())].into()).unwrap();
    let post = |shape, again, told| Post { due: Duration::ZERO, shape, again, told };
    let data = json!({"identifiers": ["member:1"]});
    let posts = vec![
        post(Shape::Binary, false, vec![told("a", data.clone())]),
        post(Shape::Structured, true, vec![told("b", data.clone())]),
        post(Shape::Batch, false, vec![told("c", data.clone()), told("d", data.clone())]),
    ];
    let plan = Plan { lanes: [(channel.clone(), posts)].into(), claims: Vec::new() };
    tokio::select! {
        ended = teller.tell(&plan) => ended.unwrap(),
        () = receive(listener, got.clone()) => panic!("the receiver ended"),
    }

    let got = got.lock().unwrap();
    assert_eq!(got.len(), 5, "{got:?}");
    for (path, headers, body) in got.iter() {
        assert_eq!(path, "/events/till-1");
        let (id, at) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
        let signed = signature::sign("key", format!("{id}.{at}.{body}").as_bytes());
        assert_eq!(headers["webhook-signature"], format!("v1,{signed}"));
        assert_eq!(STANDARD.decode(signed).unwrap().len(), 32);
        assert!(at.parse::<i64>().unwrap() > 0);
    }
    let ids: Vec<_> = got.iter().map(|(_, headers, _)| headers["webhook-id"].as_str()).collect();
    assert_eq!(ids, ["msg-a-first", "msg-a-first", "msg-b-first", "msg-b-again", "msg-c-first"]);
    let (_, headers, body) = &got[1];
    assert_eq!(headers["ce-type"], "order-placed");
    assert_eq!((headers["ce-id"].as_str(), headers["ce-source"].as_str()), ("a", "/demo/till-1"));
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), data);
    let event: Value = serde_json::from_str(&got[2].2).unwrap();
    assert_eq!((&event["specversion"], &event["data"]), (&json!("1.0"), &data));
    let batch: Value = serde_json::from_str(&got[4].2).unwrap();
    assert_eq!((&batch[0]["id"], &batch[1]["id"]), (&json!("c"), &json!("d")));

    let taken: Vec<_> = teller.taken().into_iter().map(|((_, id), times)| (id, times)).collect();
    let expected = [("a", 1), ("b", 2), ("c", 1), ("d", 1)].map(|(id, n)| (id.to_owned(), n));
    assert_eq!(taken, expected);
    assert_eq!(teller.told(), 4);
}
