//! Server-sent events, as far as a watch uses them
//! ([HTML §9.2.6](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)).

/// Longest line: a commit of a thousand services with long descriptions stays below.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Reads events from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: Event,
}

impl Parser {
    /// Takes a piece in; the events that are whole now.
    ///
    /// # Errors
    /// What is no event stream: a line without end, or not UTF-8.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, &'static str> {
        let mut events = Vec::new();
        let mut rest = piece;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
            rest = after;
            if self.line.len() + part.len() > MAX_LINE {
                return Err("the server sent a line without end; is it Portolan?");
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line =
                    std::str::from_utf8(&line).map_err(|_| "the server sent what is no text; is it Portolan?")?;
                events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            // A comment, or what a later version adds.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_from_pieces_of_any_size() {
        let text =
            b"retry: 1000\n\n:\n\nevent: change\nid: a.1\ndata: {\"x\":1}\n\nevent: odd\r\ndata: a\r\ndata: b\r\n\r\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> = text.chunks(size).flat_map(|piece| parser.feed(piece).expect("text")).collect();
            let change = Event { name: "change".into(), id: Some("a.1".into()), data: "{\"x\":1}".into() };
            let odd = Event { name: "odd".into(), id: None, data: "a\nb".into() };
            assert_eq!(events, [change, odd], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(Parser::default().feed(b"data: \xff\n").is_err());
    }
}
