//! The states of a data source and the events that change them. Pure.

use mms_proto::registry::v1::DataSourceState as Wire;

/// The state of a data source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No session can be opened.
    Stopped,
    /// The source and the target are being connected to.
    Starting,
    /// Sessions can be opened.
    Started,
    /// Sessions are being closed.
    Stopping,
    /// The source or the target could not be reached or rejected the credentials.
    StartFailed,
    /// A session could not be closed.
    StopFailed,
}

/// An event that may change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A caller starts it.
    Start,
    /// The source and the target answered.
    StartedWell,
    /// The source or the target could not be reached or rejected the credentials.
    StartFailed,
    /// A caller stops it, or it was idle for too long.
    Stop,
    /// The process that was starting or stopping it has ended.
    Abandoned,
}

impl State {
    /// The contract's value.
    pub fn wire(self) -> Wire {
        match self {
            Self::Stopped => Wire::Stopped,
            Self::Starting => Wire::Starting,
            Self::Started => Wire::Started,
            Self::Stopping => Wire::Stopping,
            Self::StartFailed => Wire::StartFailed,
            Self::StopFailed => Wire::StopFailed,
        }
    }

    /// The state of a stored number. 0 is a record that was never started; the store rejects unknown numbers as damaged.
    pub fn of(number: i32) -> Self {
        match Wire::try_from(number) {
            Ok(Wire::Starting) => Self::Starting,
            Ok(Wire::Started) => Self::Started,
            Ok(Wire::Stopping) => Self::Stopping,
            Ok(Wire::StartFailed) => Self::StartFailed,
            Ok(Wire::StopFailed) => Self::StopFailed,
            Ok(Wire::Stopped | Wire::Unspecified) | Err(_) => Self::Stopped,
        }
    }

    /// The contract's name, without the prefix of the enum.
    pub fn name(self) -> &'static str {
        let name = self.wire().as_str_name();
        name.strip_prefix("DATA_SOURCE_STATE_").unwrap_or(name)
    }

    /// Whether it can be deleted without `force`.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::StartFailed | Self::StopFailed)
    }

    /// The next state; None when the event is not possible in this one.
    pub fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Stopped | Self::StartFailed | Self::StopFailed, Event::Start) => Some(Self::Starting),
            (Self::Starting, Event::StartedWell) => Some(Self::Started),
            (Self::Starting, Event::StartFailed | Event::Abandoned) => Some(Self::StartFailed),
            (Self::Started | Self::StartFailed | Self::StopFailed | Self::Stopped, Event::Stop)
            | (Self::Stopping, Event::Abandoned) => Some(Self::Stopped),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 6] =
        [State::Stopped, State::Starting, State::Started, State::Stopping, State::StartFailed, State::StopFailed];

    #[test]
    fn numbers_lead_back() {
        for state in ALL {
            assert_eq!(State::of(state.wire() as i32), state);
        }
    }

    #[test]
    fn only_a_start_that_went_well_leads_to_started() {
        for state in ALL {
            for event in [Event::Start, Event::StartedWell, Event::StartFailed, Event::Stop, Event::Abandoned] {
                let started = state.after(event) == Some(State::Started);
                assert_eq!(started, state == State::Starting && event == Event::StartedWell);
            }
        }
    }

    #[test]
    fn a_start_can_be_tried_again_and_nothing_else_interrupts_it() {
        assert_eq!(State::StartFailed.after(Event::Start), Some(State::Starting));
        assert_eq!(State::Starting.after(Event::Stop), None);
        assert_eq!(State::Started.after(Event::Start), None);
    }
}
