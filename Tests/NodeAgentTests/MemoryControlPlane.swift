import AloftModel
import Execution

@testable import NodeAgent

/// A control plane of one node in memory: documents, and the newest observation of each VM.
final class MemoryControlPlane: ControlPlaneLink {
  struct State {
    var revision = 0
    var documents: [VMID: (revision: Int, document: Assignment)] = [:]
    var streams: [StreamRequest] = []
    var volumes: [VolumeID: (revision: Int, document: VolumeAssignment)] = [:]
    var observations: [VMID: Observation] = [:]
    var volumeObservations: [VolumeID: VolumeObservation] = [:]
    var reports = 0
    var heartbeats = 0
    var sent: [StreamID: (start: Int, bytes: [UInt8])] = [:]
    var downloads = 0
    var isUnreachable = false
    var image: [UInt8] = []
    var fabric: NetworkFabric?
    var shelf = BackupShelf()
  }

  let state = Lock(State())

  func assign(_ document: Assignment) {
    state.withLock { state in
      state.revision += 1
      state.documents[document.vm] = (state.revision, document)
    }
  }

  func assign(_ document: VolumeAssignment) {
    state.withLock { state in
      state.revision += 1
      state.volumes[document.volume] = (state.revision, document)
    }
  }

  func observation(_ volume: VolumeID) -> VolumeObservation? { state.withLock { $0.volumeObservations[volume] } }
  func drop(_ vm: VMID) { state.withLock { $0.documents[vm] = nil } }
  func request(_ stream: StreamRequest) { state.withLock { $0.streams.append(stream) } }
  func observation(_ vm: VMID) -> Observation? { state.withLock { $0.observations[vm] } }
  func sent(_ stream: StreamID) -> (start: Int, bytes: [UInt8])? {
    state.withLock { $0.sent[stream] }
  }
  var isUnreachable: Bool {
    get { state.withLock { $0.isUnreachable } }
    set { state.withLock { $0.isUnreachable = newValue } }
  }

  private func reach() throws(AgentFailure) {
    if isUnreachable { throw AgentFailure(.controlPlaneUnavailable, "unreachable") }
  }

  func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    throw AgentFailure(.unsupported, "nobody joins here")
  }

  func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    throw AgentFailure(.unsupported, "nobody renews here")
  }

  func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer {
    try reach()
    return state.withLock { state in
      state.heartbeats += 1
      return LeaseAnswer(leaseSeconds: 20, fabric: state.fabric)
    }
  }

  func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments {
    try reach()
    return state.withLock { state in
      Assignments(
        revision: state.revision,
        documents: state.documents.values.filter { $0.revision > revision }.sorted {
          $0.revision < $1.revision
        }
        .map(\.document),
        volumes: state.volumes.values.filter { $0.revision > revision }.sorted { $0.revision < $1.revision }
          .map(\.document),
        streams: state.streams, sequence: revision == 0 ? state.highest : nil)
    }
  }

  func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    try reach()
    state.withLock { state in
      state.reports += 1
      for observation in report.observations {
        if let known = state.observations[observation.vm],
          (known.incarnation, known.sequence) >= (observation.incarnation, observation.sequence)
        {
          continue
        }
        state.observations[observation.vm] = observation
        // A deletion that is seen is over: the agent is not told of the VM again.
        if let document = state.documents[observation.vm]?.document, document.deleted, observation.power == .absent,
          document.generation == observation.generation
        {
          state.documents[observation.vm] = nil
        }
      }
    }
    state.withLock { state in for volume in report.volumes ?? [] { state.take(volume) } }
    return LeaseAnswer(leaseSeconds: 20)
  }

  func download(
    _ image: Assignment.BaseImage, to descriptor: Int32,
    onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    try reach()
    let bytes = state.withLock { state in
      state.downloads += 1
      return state.image
    }
    if descriptor >= 0 { try FileSystem.writeAll(bytes, to: descriptor, "test") }
    onBytes(bytes)
    progress(bytes.count)
  }

  func send(
    _ stream: StreamRequest, start: Int,
    body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) {
    let state = state
    state.withLock { $0.sent[stream.id] = (start, []) }
    do {
      try await body { bytes in state.withLock { $0.sent[stream.id]?.bytes += bytes } }
    } catch { throw AgentFailure(.controlPlaneUnavailable, "\(error)") }
  }
}

extension MemoryControlPlane.State {
  fileprivate var highest: Int {
    max(observations.values.map(\.sequence).max() ?? 0, volumeObservations.values.map(\.sequence).max() ?? 0)
  }

  fileprivate mutating func take(_ observation: VolumeObservation) {
    if let known = volumeObservations[observation.volume], known.sequence >= observation.sequence { return }
    volumeObservations[observation.volume] = observation
    guard let document = volumes[observation.volume]?.document, observation.generation == document.generation else {
      return
    }
    if document.deleted, observation.state == .absent { volumes[observation.volume] = nil }
  }
}
