//! The views: what each is about and which row is selected. Selections are identities, so that changes do not move them.

use uuid::Uuid;

use crate::console::facet::Dimension;
use crate::model::time::UnixMs;

/// A view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Totals, the worst services, recent changes.
    Overview,
    /// The services in a table.
    Services,
    /// The services as cells.
    Heat,
    /// The instances of a service.
    Instances(Uuid),
    /// One instance.
    Instance(Uuid, Box<str>),
    /// Why an instance has its health.
    Explain(Uuid, Box<str>),
    /// Past changes of a service.
    Timeline(Uuid),
    /// What changed lately, of all services.
    Changes,
    /// The outages of all services.
    Outages,
    /// The services by a dimension.
    Pivot(Dimension),
    /// A service as text.
    Raw(Uuid, Format),
    /// Events of the server itself.
    Events,
    /// The keys.
    Help,
}

impl View {
    /// Whether it shows a history, or what follows from one.
    pub fn shows_history(&self) -> bool {
        matches!(self, Self::Timeline(_) | Self::Instance(..) | Self::Explain(..))
    }
}

/// How [`View::Raw`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// What is selected in a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// Nothing yet, which means the first row.
    #[default]
    First,
    /// A service.
    Service(Uuid),
    /// An instance of the view's service.
    Instance(Box<str>),
    /// An entry of history, by its number.
    Entry(i64),
    /// A change, by its number.
    Change(u64),
    /// An outage, by its service and its start.
    Outage(Uuid, UnixMs),
    /// A group, by its value.
    Group(Box<str>),
    /// A line of text.
    Line(usize),
}

/// A view with its selection and scroll position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// The view.
    pub view: View,
    /// What is selected.
    pub selection: Selection,
    /// Where the selected row was last; when it disappears, its neighbour is selected.
    pub position: usize,
    /// First visible row.
    pub top: usize,
    /// While nothing was selected yet: what the first row was when it was last drawn, which is what the next key means.
    pub drawn: Option<Uuid>,
}

impl Screen {
    /// A view at its start.
    pub fn of(view: View) -> Self {
        Self { view, selection: Selection::First, position: 0, top: 0, drawn: None }
    }

    /// The first view.
    pub fn overview() -> Self {
        Self::of(View::Overview)
    }

    /// The service that the view is about.
    pub fn service(&self) -> Option<Uuid> {
        match &self.view {
            View::Instances(id)
            | View::Instance(id, _)
            | View::Explain(id, _)
            | View::Timeline(id)
            | View::Raw(id, _) => Some(*id),
            View::Overview
            | View::Services
            | View::Heat
            | View::Changes
            | View::Outages
            | View::Pivot(_)
            | View::Events
            | View::Help => None,
        }
    }
}
