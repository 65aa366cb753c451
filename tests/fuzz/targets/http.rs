//! HTTP/1.1 answers, parsed strictly: they must be well formed to the last byte.

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether its body had not ended when the connection did.
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Every answer among the bytes of a connection. `head` says whether the request at that position was a HEAD, whose answer has no body.
pub(crate) fn answers(mut bytes: &[u8], head: impl Fn(usize) -> bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, rest) = one(bytes, head(answers.len()));
        if !(100..200).contains(&answer.status) {
            answers.push(answer);
        }
        bytes = rest;
    }
    answers
}

fn one(bytes: &[u8], head: bool) -> (Answer, &[u8]) {
    let end =
        bytes.windows(4).position(|at| at == b"\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {}", show(bytes)));
    let text = std::str::from_utf8(&bytes[..end]).unwrap_or_else(|_| panic!("a head of text: {}", show(bytes)));
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("a status line: {line:?}"));
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("a header: {line:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new(), cut: false };
    let rest = &bytes[end + 4..];
    if head || status == 204 || status == 304 || status < 200 {
        return (answer, rest);
    }
    let lengths = answer.headers.iter().filter(|(name, _)| name == "content-length").count();
    assert!(lengths <= 1, "one length: {:?}", answer.headers);
    let rest = match (answer.header("content-length"), answer.header("transfer-encoding")) {
        (Some(length), None) => {
            let length: usize = length.parse().unwrap_or_else(|_| panic!("a length: {length}"));
            answer.cut = rest.len() < length;
            let (body, rest) = rest.split_at(length.min(rest.len()));
            answer.body = body.to_vec();
            rest
        }
        (None, Some("chunked")) => chunks(rest, &mut answer),
        _ => panic!("a body has a length or is chunked: {:?}", answer.headers),
    };
    (answer, rest)
}

fn chunks<'a>(mut bytes: &'a [u8], answer: &mut Answer) -> &'a [u8] {
    while let Some(end) = bytes.windows(2).position(|at| at == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.unwrap_or_else(|| panic!("the size of a chunk: {}", show(bytes)));
        let Some(chunk) = bytes.get(end + 2..end + 2 + size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "the end of a chunk: {}", show(chunk));
        bytes = &bytes[end + 4 + size..];
        if size == 0 {
            return bytes;
        }
        answer.body.extend_from_slice(&chunk[..size]);
    }
    answer.cut = true;
    &[]
}

pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().take(200).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}
