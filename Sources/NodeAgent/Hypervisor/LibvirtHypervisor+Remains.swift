import AloftModel
import JSON
import Libvirt

// When libvirtd dies while it changes the disks of a guest that runs, QEMU keeps what was begun: a device, or open files with their
// locks. libvirt does not know of that when it is back, and nobody can have such a volume before the guest has ended. So whatever
// QEMU has and libvirt does not know goes, when a guest is looked at for the first time after libvirt was connected to: at that time
// nothing else is done with its disks. What a disk itself has open (LibvirtHypervisor+Ahead.swift) goes when the disk has gone.

extension LibvirtHypervisor {
  /// Who looks at a guest, perhaps to end it, must not wait for a QEMU that does not answer: what has not come to its end in a few
  /// seconds goes no step further, and nothing else is done with the guest's disks before that.
  func clearRemainsSoon(of vm: VMID, knowing aliases: Set<String>) async {
    let (ends, end) = AsyncStream.makeStream(of: Void.self)
    let clearing = Task {
      do throws(AgentFailure) { try await clearRemains(of: vm, knowing: aliases) } catch {
        logger.warning(
          "what libvirt may have forgotten of a guest cannot be looked at",
          metadata: ["vm": "\(vm)", "failure": "\(error)"])
      }
      end.finish()
    }
    let limit = Task {
      try? await Task.sleep(for: .seconds(5))
      end.finish()
    }
    for await _ in ends {}
    clearing.cancel()
    limit.cancel()
  }

  /// QEMU itself sees to it that nothing goes that is in use.
  private func clearRemains(of vm: VMID, knowing aliases: Set<String>) async throws(AgentFailure) {
    for device in try await ask(vm, "qom-list", ["path": "/machine/peripheral"])?.arrayValue ?? [] {
      guard let name = device["name"]?.stringValue, DiskSpecification.volume(ofAlias: name) != nil,
        !aliases.contains(name)
      else { continue }
      logger.warning("removing a disk that libvirt has forgotten", metadata: ["vm": "\(vm)", "device": "\(name)"])
      _ = try await ask(vm, "device_del", ["id": .string(name)])
    }
    try await clearCopies(of: vm)
    if try await closeUnused(of: vm) {
      logger.warning("libvirt had forgotten files that QEMU had open; they are closed", metadata: ["vm": "\(vm)"])
    }
    try await clearSecrets(of: vm)
  }

  /// Closes what libvirt has named and no device of QEMU reads; whether there was anything.
  @discardableResult
  func closeUnused(of vm: VMID) async throws(AgentFailure) -> Bool {
    let nodes = try await ask(vm, "query-named-block-nodes", ["flat": true])?.arrayValue ?? []
    // Those that libvirt names: a disk's, and below it those of its files.
    var candidates = nodes.compactMap { $0["node-name"]?.stringValue }.filter { $0.hasPrefix("libvirt-") }
    var count = 0
    // What lies below is free when what lies above has gone.
    while count != candidates.count {
      count = candidates.count
      var left: [String] = []
      for node in candidates where try await ask(vm, "blockdev-del", ["node-name": .string(node)]) == nil {
        left.append(node)
      }
      candidates = left
    }
    return count < nodes.count(where: { $0["node-name"]?.stringValue?.hasPrefix("libvirt-") == true })
  }

  /// Copying that libvirt does not know of: nobody would ever end it.
  private func clearCopies(of vm: VMID) async throws(AgentFailure) {
    let jobs = (try await ask(vm, "query-block-jobs", [:])?.arrayValue ?? []).compactMap { $0["device"]?.stringValue }
    if jobs.isEmpty { return }
    let isCopied = try await call(vm) { domain throws(LibvirtError) in
      try ParsedXML(try await domain.xml()).first("/domain/devices/disk/mirror") != nil
    }
    // What libvirt names a copy.
    for job in jobs where !isCopied && job.hasPrefix("copy-") {
      logger.warning("ending a copy that libvirt has forgotten", metadata: ["vm": "\(vm)", "job": "\(job)"])
      _ = try await ask(vm, "block-job-cancel", ["device": .string(job), "force": true])
      // It ends by itself within moments; until then its files are in use.
      for _ in 0..<Self.copyLooks {
        guard
          try await ask(vm, "query-jobs", [:])?.arrayValue?.contains(where: { $0["id"]?.stringValue == job }) == true
        else { break }
        _ = try await ask(vm, "job-dismiss", ["id": .string(job)])
      }
    }
  }

  /// How often a copy that was ended is asked for.
  private static let copyLooks = 50

  /// What libvirt names the secret of a file behind that file's own name.
  private static let secretSuffix = "-encryption-secret0"

  /// Secrets of files that are not open: libvirt would give their names again, and QEMU refuse them.
  private func clearSecrets(of vm: VMID) async throws(AgentFailure) {
    guard let nodes = try await ask(vm, "query-named-block-nodes", ["flat": true])?.arrayValue else { return }
    let open = Set(nodes.compactMap { $0["node-name"]?.stringValue })
    for object in try await ask(vm, "qom-list", ["path": "/objects"])?.arrayValue ?? [] {
      guard let name = object["name"]?.stringValue, name.hasPrefix("libvirt-"), name.hasSuffix(Self.secretSuffix),
        !open.contains(String(name.dropLast(Self.secretSuffix.utf8.count)))
      else { continue }
      logger.warning("removing a secret that libvirt has forgotten", metadata: ["vm": "\(vm)", "secret": "\(name)"])
      _ = try await ask(vm, "object-del", ["id": .string(name)])
    }
  }

  /// By the monitor, too: libvirt has no call for it. All that the guest can write to is flushed: what QEMU calls an image depends on
  /// how it was told of what lies below.
  public func flush(_ source: DiskSource, of vm: VMID) async throws(AgentFailure) {
    let nodes = try await ask(vm, "query-named-block-nodes", ["flat": true])?.arrayValue ?? []
    let open = nodes.filter { $0["ro"]?.boolValue == false }
    guard open.contains(where: { Self.isNode($0, of: source) }) else {
      throw AgentFailure(.changedMeanwhile, "the guest has not opened \(source.path) to write to it")
    }
    for node in open where ["qcow2", "raw"].contains(node["drv"]?.stringValue) {
      // What it prints goes to QEMU's standard output; a flush prints nothing.
      let line = "qemu-io \(node["node-name"]?.stringValue ?? "") \"flush\""
      guard let answer = try await ask(vm, "human-monitor-command", ["command-line": .string(line)])?.stringValue,
        answer.isEmpty
      else { throw AgentFailure(.hypervisorRefused, "QEMU does not flush what \(vm) writes") }
    }
  }

  /// Whether a node of QEMU's is what is at a source itself.
  private static func isNode(_ node: JSONValue, of source: DiskSource) -> Bool {
    let file = node["file"]?.stringValue
    switch source {
    case .file(let path): return node["drv"]?.stringValue == "file" && file == path
    case .rbd(let name):
      guard node["drv"]?.stringValue == "rbd", let file, file.hasPrefix("json:") else { return false }
      let options = try? JSONValue.parse(String(file.dropFirst(5)))
      return options?["pool"]?.stringValue.map { "\($0)/\(options?["image"]?.stringValue ?? "")" } == name
    }
  }

  /// What QEMU's monitor returns; nil where it refuses.
  func ask(_ vm: VMID, _ command: String, _ arguments: JSONValue) async throws(AgentFailure) -> JSONValue? {
    if Task.isCancelled { throw AgentFailure(.hypervisorUnavailable, "QEMU did not answer in time") }
    let request: JSONValue = ["execute": .string(command), "arguments": arguments]
    let answer = try await call(vm) { domain throws(LibvirtError) in try await domain.askMonitor(request.description) }
    return (try? JSONValue.parse(answer))?["return"]
  }
}
