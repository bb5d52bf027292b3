import CephImages
import Execution
import Glibc
import JSON

/// The images of one pool, through Ceph's own library: it answers in milliseconds, where starting `rbd` takes a hundred.
///
/// The library lives in processes of `aloft-rbd`, as many as there is to do at once: it crashes now and then.
final class RBDImages: Sendable {
  let access: CephAccess
  /// Helpers that have nothing to do.
  let idle = Lock<[RBDHelper]>([])

  /// How many are kept for later.
  private static let idleLimit = 2
  private static let tries = 3

  init(access: CephAccess) { self.access = access }

  private func answer(
    _ request: ImageRequest, _ what: String, tries: Int
  ) async throws(AgentFailure) -> ImageAnswer {
    var left = tries
    while left > 0 {
      let helper: RBDHelper
      let waiting = idle.withLock { $0.popLast() }
      if let waiting { helper = waiting } else { helper = try await RBDHelper.start(access) }
      do throws(RBDHelper.Ended) {
        let answer = try await helper.ask(request)
        idle.withLock { if $0.count < Self.idleLimit { $0.append(helper) } }
        return answer
      } catch {
        // One that has ended while it waited has cost nothing.
        if error.wasAsked || waiting == nil { left -= 1 }
      }
    }
    throw AgentFailure(
      .storage, "\(what) failed in pool \(access.pool): aloft-rbd crashed, or had no answer from the cluster")
  }

  private func failure(_ answer: ImageAnswer, _ what: String) -> AgentFailure {
    .ceph(answer.code, what, in: access.pool, why: answer.text)
  }

  /// Asks for what changes nothing, again if the library crashes; nil: what it is about is not there.
  private func find(_ request: ImageRequest, _ what: String) async throws(AgentFailure) -> ImageAnswer? {
    let answer = try await answer(request, what, tries: Self.tries)
    if answer.code == ENOENT { return nil }
    guard answer.code == 0 else { throw failure(answer, what) }
    return answer
  }

  /// Changes something; whatever crashes there is a step's to repeat. False: what it says is so already, by that code.
  @discardableResult
  private func change(
    _ request: ImageRequest, _ what: String, unless already: Int32? = nil
  ) async throws(AgentFailure) -> Bool {
    let answer = try await answer(request, what, tries: 1)
    if answer.code == 0 { return true }
    guard answer.code == already else { throw failure(answer, what) }
    return false
  }

  // MARK: Images

  func names() async throws(AgentFailure) -> [String] {
    try await find(.names, "listing images")?.names ?? []
  }

  func create(_ image: String, sizeBytes: Int) async throws(AgentFailure) {
    try await change(.create(image: image, sizeBytes: sizeBytes), "making \(image)")
  }

  /// Makes one that need not be new.
  func createIfMissing(_ image: String, sizeBytes: Int) async throws(AgentFailure) {
    try await change(.create(image: image, sizeBytes: sizeBytes), "making \(image)", unless: EEXIST)
  }

  func clone(_ parent: String, at snapshot: String, as image: String) async throws(AgentFailure) {
    try await change(
      .clone(parent: parent, snapshot: snapshot, image: image), "cloning \(parent)@\(snapshot)")
  }

  /// False: the name is taken.
  func rename(_ image: String, to name: String) async throws(AgentFailure) -> Bool {
    try await change(.rename(image: image, name: name), "renaming \(image)", unless: EEXIST)
  }

  func resize(_ image: String, to sizeBytes: Int) async throws(AgentFailure) {
    try await change(.resize(image: image, sizeBytes: sizeBytes), "growing \(image)")
  }

  /// Nil: there is no such image.
  func usage(of image: String) async throws(AgentFailure) -> ImageUsage? {
    try await find(.usage(image: image), "looking at \(image)")?.usage
  }

  /// The addresses of those that have it open to write.
  func watchers(of image: String) async throws(AgentFailure) -> [String] {
    try await find(.watchers(image: image), "looking who has \(image) open")?.names ?? []
  }

  // MARK: Metadata and snapshots

  /// Nil: there is no such image, or it has none of that name.
  func metadata(_ key: String, of image: String) async throws(AgentFailure) -> String? {
    try await find(.metadata(image: image, key: key), "reading the metadata of \(image)")?.text
  }

  func setMetadata(_ key: String, to value: String, of image: String) async throws(AgentFailure) {
    try await change(.setMetadata(image: image, key: key, value: value), "writing the metadata of \(image)")
  }

  /// Nil: there is no such image.
  func snapshots(of image: String) async throws(AgentFailure) -> [String]? {
    try await find(.snapshots(image: image), "listing the snapshots of \(image)")?.names
  }

  func has(_ snapshot: String, of image: String) async throws(AgentFailure) -> Bool {
    try await find(.openSnapshot(image: image, snapshot: snapshot), "opening \(image)@\(snapshot)") != nil
  }

  func createSnapshot(_ snapshot: String, of image: String) async throws(AgentFailure) {
    try await change(.createSnapshot(image: image, snapshot: snapshot), "taking \(image)@\(snapshot)")
  }

  func removeSnapshot(_ snapshot: String, of image: String) async throws(AgentFailure) {
    try await change(
      .removeSnapshot(image: image, snapshot: snapshot), "deleting \(image)@\(snapshot)", unless: ENOENT)
  }

  // MARK: The cluster

  private struct Command: Encodable {
    var prefix: String
    var format: String? = "json"
    var blocklistop: String?
    var addr: String?
    var expire: Double?

    func text() throws(AgentFailure) -> String {
      do { return String(decoding: try JSONCoder.encode(self), as: UTF8.self) } catch {
        throw AgentFailure(.storage, "\(prefix) cannot be asked: \(error)")
      }
    }
  }

  /// The cluster's own account of its pools, in JSON (`ceph df`).
  func clusterUsage() async throws(AgentFailure) -> String {
    try await find(.ask(command: try Command(prefix: "df").text()), "asking for the room")?.text ?? ""
  }

  /// Has the cluster keep out one instance of a client, by its address, for a year: a program that was forgotten on a host that was given
  /// up must not write again. Instances that are started later are others. The profile `rbd` allows that.
  func keepOut(_ address: String) async throws(AgentFailure) {
    let command = Command(prefix: "osd blocklist", blocklistop: "add", addr: address, expire: 31_536_000)
    try await change(.ask(command: try command.text()), "keeping \(address) out")
  }
}
