import Dispatch
import Glibc

/// Turns signals into values: SIGTERM and SIGINT stop, SIGHUP reads certificates again.
struct SignalWatch {
  enum Event: Sendable { case stop, reload }

  private let events: AsyncStream<Event>
  private let sources: [any DispatchSourceSignal]

  init() {
    let (events, continuation) = AsyncStream<Event>.makeStream()
    self.events = events
    sources = [(SIGTERM, Event.stop), (SIGINT, .stop), (SIGHUP, .reload)].map { number, event in
      // The default action would end the process before the source sees the signal.
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { continuation.yield(event) }
      source.resume()
      return source
    }
  }

  /// The next signal.
  func next() async -> Event {
    for await event in events { return event }
    return .stop
  }
}
