import AloftModel
import Foundation

/// A report as it came in. Each observation stands by itself: what cannot be read of one VM, because its agent is newer or
/// in error, must not keep the rest of the node from being seen; the agent would repeat it for ever.
struct ReceivedObservations: Decodable, Sendable {
  var observations: [Observation] = []
  var volumes: [VolumeObservation] = []
  /// Why the others were passed over.
  var unreadable: [String] = []

  private enum Key: String, CodingKey { case observations, volumes }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for received in try container.decode([Received<Observation>].self, forKey: .observations) {
      received.take(&observations, &unreadable)
    }
    for received in try container.decodeIfPresent([Received<VolumeObservation>].self, forKey: .volumes) ?? [] {
      received.take(&volumes, &unreadable)
    }
  }

  private enum Received<Seen: Reported>: Decodable, Sendable {
    case observation(Seen)
    case unreadable(String)

    init(from decoder: any Decoder) throws {
      do {
        let observation = try Seen(from: decoder)
        if let fault = observation.fault {
          self = .unreadable("\(observation.subject): \(fault)")
        } else {
          self = .observation(observation.readable)
        }
      } catch {
        self = .unreadable(AgentText.shortened("\(error)"))
      }
    }

    func take(_ observations: inout [Seen], _ unreadable: inout [String]) {
      switch self {
      case .observation(let observation): observations.append(observation)
      case .unreadable(let why): unreadable.append(why)
      }
    }
  }
}

/// What an agent says of one thing.
private protocol Reported: Decodable, Sendable {
  /// The id of what it is about.
  var subject: String { get }
  /// What no agent can have counted; nil when all is well. The agent adds to sequences: they must not overflow.
  var fault: String? { get }
  /// The same with its words cut to what people read.
  var readable: Self { get }
}

private let countable = 0...(1 << 60)

extension Observation: Reported {
  /// How many one-time requests one observation may complete; there are hardly ever two.
  private static let mostRequests = 1000

  fileprivate var subject: String { vm.description }

  fileprivate var fault: String? {
    if [incarnation, generation, sequence].contains(where: { !countable.contains($0) }) {
      return "a count is out of range"
    }
    if let progress, !(0...100).contains(progress) { return "progress is no percentage" }
    if completedRequests.count > Self.mostRequests { return "too many requests completed" }
    if let nics, nics.count > Self.mostRequests { return "too many NICs" }
    if max(disks.count, staleDisks?.count ?? 0) > Self.mostRequests { return "too many disks" }
    return nil
  }

  fileprivate var readable: Observation {
    var copy = self
    copy.activity = activity.map(AgentText.shortened)
    copy.problem = problem.map { .init(code: $0.code, detail: AgentText.shortened($0.detail)) }
    return copy
  }
}

extension VolumeObservation: Reported {
  fileprivate var subject: String { volume.description }

  fileprivate var fault: String? {
    let counts = [generation, sequence, epoch, sizeBytes ?? 0, usedBytes ?? 0, bytesDone ?? 0, bytesTotal ?? 0]
    if counts.contains(where: { !countable.contains($0) }) { return "a count is out of range" }
    if snapshots.count > 10_000 { return "too many snapshots" }
    if snapshots.contains(where: { $0.memoryBytes.map { !countable.contains($0) } ?? false }) {
      return "a count is out of range"
    }
    return nil
  }

  fileprivate var readable: VolumeObservation {
    var copy = self
    copy.activity = activity.map(AgentText.shortened)
    copy.problem = problem.map { .init(code: $0.code, detail: AgentText.shortened($0.detail)) }
    return copy
  }
}
