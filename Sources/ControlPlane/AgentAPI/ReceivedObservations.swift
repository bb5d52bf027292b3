import AloftModel
import Foundation

/// A report as it came in. Each observation stands by itself: what cannot be read of one VM, because its agent is newer or
/// in error, must not keep the rest of the node from being seen; the agent would repeat it for ever.
struct ReceivedObservations: Decodable, Sendable {
  /// How many one-time requests one observation may complete; there are hardly ever two.
  private static let mostRequests = 1000

  var observations: [Observation] = []
  /// Why the others were passed over.
  var unreadable: [String] = []

  private enum Key: String, CodingKey { case observations }

  init(from decoder: any Decoder) throws {
    for received in try decoder.container(keyedBy: Key.self).decode([Received].self, forKey: .observations) {
      switch received {
      case .observation(let observation): observations.append(observation)
      case .unreadable(let why): unreadable.append(why)
      }
    }
  }

  private enum Received: Decodable, Sendable {
    case observation(Observation)
    case unreadable(String)

    init(from decoder: any Decoder) throws {
      do {
        let observation = try Observation(from: decoder)
        if let fault = ReceivedObservations.fault(of: observation) {
          self = .unreadable("\(observation.vm): \(fault)")
        } else {
          self = .observation(ReceivedObservations.readable(observation))
        }
      } catch {
        self = .unreadable(AgentText.shortened("\(error)"))
      }
    }
  }

  /// What no agent can have counted; nil when all is well. The agent adds to sequences: they must not overflow.
  private static func fault(of observation: Observation) -> String? {
    let counts = [observation.incarnation, observation.generation, observation.sequence]
    if counts.contains(where: { !(0...(1 << 60)).contains($0) }) { return "a count is out of range" }
    if let progress = observation.progress, !(0...100).contains(progress) { return "progress is no percentage" }
    if observation.completedRequests.count > mostRequests { return "too many requests completed" }
    if let nics = observation.nics, nics.count > mostRequests { return "too many NICs" }
    return nil
  }

  private static func readable(_ observation: Observation) -> Observation {
    var observation = observation
    observation.activity = observation.activity.map(AgentText.shortened)
    observation.problem = observation.problem.map { .init(code: $0.code, detail: AgentText.shortened($0.detail)) }
    return observation
  }
}
