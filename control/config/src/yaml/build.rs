//! From the parser's events to values with places.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::lines::Lines;
use super::positions::{Entry, Place, Positions};
use super::values::{Extent, child, merge, resolve};
use super::{Document, MAX_DEPTH, MAX_NODES, scalar};

/// Where reading stopped, and why.
pub(super) type Failure = (Place, String);

/// A value being built.
enum Open {
    List {
        items: Vec<Value>,
        anchor: usize,
    },
    Map {
        entries: Map<String, Value>,
        merged: Vec<Value>,
        key: Option<(Key, Place)>,
        anchor: usize,
        place: Place,
    },
}

/// What stands before a colon.
#[derive(Clone, PartialEq)]
enum Key {
    Name(String),
    /// A plain `<<`.
    Merge,
}

impl Key {
    fn name(&self) -> &str {
        match self {
            Key::Name(name) => name,
            Key::Merge => "<<",
        }
    }
}

struct Builder<'t> {
    lines: Lines<'t>,
    open: Vec<Open>,
    /// JSON pointer of the innermost open value, and its length before each step.
    pointer: String,
    anchors: HashMap<usize, (Value, Extent)>,
    entries: HashMap<String, Entry>,
    nodes: usize,
    done: Vec<Document>,
    root: Option<Value>,
}

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Failure> {
    let mut builder = Builder {
        lines: Lines::new(text),
        open: Vec::new(),
        pointer: String::new(),
        anchors: HashMap::new(),
        entries: HashMap::new(),
        nodes: 0,
        done: Vec::new(),
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            (builder.lines.at(mark.line(), mark.col()), format!("this is not YAML: {}", error.info()))
        })?;
        builder.event(event, span)?;
    }
    Ok(builder.done)
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let place = self.lines.place(&span);
        match event {
            Event::DocumentEnd => self.end_document(),
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(key) = self.wanted_key(&text, style, place)? {
                    self.set_key(key, place)?;
                    return Ok(());
                }
                let value = resolve(&text, style, tag.as_deref()).map_err(|message| (place, message))?;
                self.remember(anchor, &value);
                self.value(value, place, Extent::SCALAR)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.container(place, tag.as_deref())?;
                self.open.push(Open::List { items: Vec::new(), anchor });
            }
            Event::MappingStart(anchor, tag) => {
                self.container(place, tag.as_deref())?;
                self.open.push(Open::Map {
                    entries: Map::new(),
                    merged: Vec::new(),
                    key: None,
                    anchor,
                    place,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let Some((value, extent)) = self.anchors.get(&anchor).cloned() else {
                    return Err((place, "this alias names an anchor that is not closed yet".to_owned()));
                };
                if self.key_is_due() {
                    return Err((place, "an alias cannot be a key".to_owned()));
                }
                self.value(value, place, extent)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(())
    }

    fn end_document(&mut self) {
        let value = self.root.take().unwrap_or(Value::Null);
        let entries = std::mem::take(&mut self.entries);
        self.anchors.clear();
        self.done.push(Document { value, positions: Positions::new(entries) });
    }

    fn key_is_due(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    /// The text of a scalar that stands where a key is due. JSON has only text keys, so `on:` becomes `true:`.
    fn wanted_key(&self, text: &str, style: ScalarStyle, place: Place) -> Result<Option<Key>, Failure> {
        if !self.key_is_due() {
            return Ok(None);
        }
        if style != ScalarStyle::Plain {
            return Ok(Some(Key::Name(text.to_owned())));
        }
        if text == "<<" {
            return Ok(Some(Key::Merge));
        }
        match scalar::plain(text) {
            Value::Null => Err((place, "a key is missing before the colon".to_owned())),
            Value::String(text) => Ok(Some(Key::Name(text))),
            other => Ok(Some(Key::Name(other.to_string()))),
        }
    }

    fn set_key(&mut self, next: Key, place: Place) -> Result<(), Failure> {
        if let Some(Open::Map { entries, key, .. }) = self.open.last_mut() {
            if let Key::Name(name) = &next
                && entries.contains_key(name)
            {
                let first = self.entries.get(&child(&self.pointer, name)).map_or(0, |entry| entry.key.line);
                let message =
                    format!("key {name:?} stands twice in one mapping, first on line {first}; remove one");
                return Err((place, message));
            }
            *key = Some((next, place));
        }
        Ok(())
    }

    fn container(&mut self, place: Place, tag: Option<&Tag>) -> Result<(), Failure> {
        if self.key_is_due() {
            return Err((place, "a key must be a text".to_owned()));
        }
        if let Some(tag) = tag
            && !matches!(tag.suffix.as_str(), "map" | "seq")
        {
            return Err((place, format!("tag {}{} is not known; remove it", tag.handle, tag.suffix)));
        }
        self.count(Extent { nodes: 1, depth: 1 }, place)?;
        self.descend(place);
        Ok(())
    }

    /// Notes where the value begins that is about to be opened, and makes it the innermost.
    fn descend(&mut self, place: Place) {
        let pointer = self.next_pointer();
        let key = self.key_place().unwrap_or(place);
        self.entries.insert(pointer.clone(), Entry { key, value: place });
        self.pointer = pointer;
    }

    /// The pointer of the value that comes next.
    fn next_pointer(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open::List { items, .. }) => format!("{}/{}", self.pointer, items.len()),
            Some(Open::Map { key, .. }) => {
                child(&self.pointer, key.as_ref().map(|(key, _)| key.name()).unwrap_or_default())
            }
        }
    }

    fn key_place(&self) -> Option<Place> {
        match self.open.last() {
            Some(Open::Map { key: Some((_, place)), .. }) => Some(*place),
            _ => None,
        }
    }

    fn close(&mut self) -> Result<(), Failure> {
        let (value, anchor) = match self.open.pop() {
            Some(Open::List { items, anchor }) => (Value::Array(items), anchor),
            Some(Open::Map { mut entries, merged, anchor, place, .. }) => {
                for source in merged {
                    merge(&mut entries, source, place)?;
                }
                (Value::Object(entries), anchor)
            }
            None => return Ok(()),
        };
        let parent = self.pointer.rfind('/').unwrap_or(0);
        self.pointer.truncate(parent);
        self.remember(anchor, &value);
        self.attach(value);
        Ok(())
    }

    fn remember(&mut self, anchor: usize, value: &Value) {
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), Extent::of(value)));
        }
    }

    /// A value that is complete at once.
    fn value(&mut self, value: Value, place: Place, extent: Extent) -> Result<(), Failure> {
        self.count(extent, place)?;
        let key = self.key_place().unwrap_or(place);
        let pointer = self.next_pointer();
        self.entries.insert(pointer, Entry { key, value: place });
        self.attach(value);
        Ok(())
    }

    fn attach(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, merged, key, .. }) => match key.take() {
                Some((Key::Merge, _)) => merged.push(value),
                Some((Key::Name(name), _)) => {
                    entries.insert(name, value);
                }
                None => {}
            },
        }
    }

    /// Holds what is about to be added against the budgets. An alias adds all levels and values of its anchor.
    fn count(&mut self, extent: Extent, place: Place) -> Result<(), Failure> {
        if self.open.len().saturating_add(extent.depth) > MAX_DEPTH {
            return Err((
                place,
                format!("nested deeper than {MAX_DEPTH} levels, aliases counted with all theirs"),
            ));
        }
        self.nodes = self.nodes.saturating_add(extent.nodes);
        if self.nodes > MAX_NODES {
            return Err((
                place,
                format!("more than {MAX_NODES} values, aliases counted as often as they are used"),
            ));
        }
        Ok(())
    }
}
