import HTTPTypes
import Logging
import Synchronization

/// What all connections of a server share.
final class Service: Sendable {
  let limits: Limits
  let times: LimitTimes
  let headLimits: HeadLimits
  let responder: Responder
  let immediate: ImmediateResponder?
  let errorBody: @Sendable (HTTPResponse.Status, String) -> (contentType: String, bytes: [UInt8])
  let logger: Logger
  let admission: Admission
  private let draining = Atomic<Bool>(false)
  private let tickets = Atomic<UInt64>(0)

  init(
    configuration: ServerConfiguration, logger: Logger, immediate: ImmediateResponder?, responder: @escaping Responder
  ) {
    limits = configuration.limits.fitting(descriptors: Limits.openFiles)
    times = LimitTimes(configuration.limits)
    headLimits = HeadLimits(
      requestLine: limits.requestLine, fields: limits.headerBytes, fieldCount: min(limits.headerCount, 10_000))
    errorBody = configuration.errorBody
    self.logger = logger
    self.immediate = immediate
    self.responder = responder
    admission = Admission(limits: limits)
  }

  /// Whether the server is going down: no connection outlives the request it is serving.
  var isDraining: Bool { draining.load(ordering: .relaxed) }

  /// A number for one who is going to wait, so that a cancellation can say who is meant.
  func newTicket() -> UInt64 { tickets.add(1, ordering: .relaxed).newValue }

  func startDraining() { draining.store(true, ordering: .relaxed) }
}
