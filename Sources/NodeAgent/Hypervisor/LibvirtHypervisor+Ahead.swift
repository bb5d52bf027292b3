import AloftModel
import JSON
import Libvirt

// libvirt has QEMU go over to new layers, and writes down then that it did. If it dies in between it tells for ever that the guest
// writes to the layers below, and asks QEMU for things that cannot be done, or that are not what was meant. No call of libvirt mends
// that; QEMU does, by the monitor: it brings the guest back to where libvirt believes it to be.

extension LibvirtHypervisor {
  /// What QEMU has for a disk.
  private struct Top {
    var node: String
    /// The file that is written to.
    var path: String?
  }

  public func isAhead(
    _ disk: DomainDisk, of vm: VMID, on layer: DiskSource
  ) async throws(AgentFailure) -> Bool {
    guard case .file(let path) = layer else { return false }
    let top = try await top(of: disk, of: vm)
    // Asked after QEMU, which answers when libvirt has ended what it did for an earlier agent: it may just have gone over.
    let known = try await known(of: disk, of: vm)
    guard known.source == disk.source else {
      throw AgentFailure(.changedMeanwhile, "the guest has just gone over to another layer of \(disk.volume)")
    }
    if top.node == known.node || top.path == disk.source.path { return false }
    // Whoever believes that the guest is below puts an empty layer in the place of the one above: never by a guess.
    guard top.path == path else {
      throw AgentFailure(.hypervisorRefused, "QEMU and libvirt do not agree about \(disk.volume)")
    }
    return true
  }

  /// Whether QEMU has another file for a disk than libvirt knows of: libvirt will not close that when the guest has given the disk back.
  func isElsewhere(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> Bool {
    try await top(of: disk, of: vm).node != known(of: disk, of: vm).node
  }

  public func bringDown(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    let job = Self.job(of: disk)
    if try await self.job(job, of: vm) == nil {
      let (top, below) = (try await top(of: disk, of: vm).node, try await known(of: disk, of: vm).node)
      // QEMU refuses unless the one lies below the other.
      let arguments: JSONValue = ["job-id": .string(job), "device": .string(top), "base-node": .string(below)]
      guard try await ask(vm, "block-commit", arguments) != nil else {
        throw AgentFailure(.hypervisorRefused, "QEMU and libvirt do not agree about \(disk.volume)")
      }
    }
    for _ in 0..<Self.looks {
      guard let found = try await self.job(job, of: vm) else {
        throw AgentFailure(.hypervisorRefused, "QEMU did not bring down what \(disk.volume) holds")
      }
      if found["ready"]?.boolValue == true { return }
      try? await Task.sleep(for: .milliseconds(50))
    }
    throw AgentFailure(.hypervisorUnavailable, "QEMU is bringing down what \(disk.volume) holds")
  }

  public func goBack(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    let job = Self.job(of: disk)
    let node = try await known(of: disk, of: vm).node
    _ = try await ask(vm, "block-job-complete", ["device": .string(job)])
    for _ in 0..<Self.looks {
      if try await self.job(job, of: vm) == nil {
        guard try await top(of: disk, of: vm).node == node else {
          throw AgentFailure(.hypervisorRefused, "QEMU did not go back to where libvirt has \(disk.volume)")
        }
        try await closeUnused(of: vm)
        return
      }
      try? await Task.sleep(for: .milliseconds(20))
    }
    throw AgentFailure(.hypervisorUnavailable, "QEMU does not end copying what \(disk.volume) holds")
  }

  /// How often QEMU is asked how far it is, before whoever wants it tries again later.
  private static let looks = 200

  /// libvirt leaves jobs alone that it has not named.
  private static func job(of disk: DomainDisk) -> String { "aloft-back-\(disk.volume.uuid.uuidString.lowercased())" }

  private func job(_ id: String, of vm: VMID) async throws(AgentFailure) -> JSONValue? {
    guard let jobs = try await ask(vm, "query-block-jobs", [:])?.arrayValue else { throw Self.silent(vm) }
    return jobs.first { $0["device"]?.stringValue == id }
  }

  private func top(of disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> Top {
    guard let devices = try await ask(vm, "query-block", [:])?.arrayValue else { throw Self.silent(vm) }
    let alias = DiskSpecification.alias(of: disk.volume)
    // A device's own name, or a path in which it is.
    let device = devices.first { $0["qdev"]?.stringValue?.split(separator: "/").contains { $0 == alias } == true }
    guard let inserted = device?["inserted"], let node = inserted["node-name"]?.stringValue else {
      throw AgentFailure(.changedMeanwhile, "\(disk.volume) is not plugged in")
    }
    return Top(node: node, path: inserted["file"]?.stringValue.flatMap(Self.path))
  }

  /// The file of a node by what QEMU calls it: its path, or all that it was told of it.
  private static func path(ofImage name: String) -> String? {
    guard name.hasPrefix("json:") else { return name }
    return (try? JSONValue.parse(String(name.dropFirst(5))))?["file"]?["filename"]?.stringValue
  }

  /// What libvirt believes QEMU to have for a disk, and its name for that.
  private func known(
    of disk: DomainDisk, of vm: VMID
  ) async throws(AgentFailure) -> (node: String, source: DiskSource) {
    let path = "/domain/devices/disk[target/@dev='\(disk.target)']/source"
    let found = try await call(vm) { domain throws(LibvirtError) -> (index: String, source: DiskSource)? in
      guard let element = try ParsedXML(try await domain.xml()).first(path), let index = element.attribute("index"),
        let source = DiskSource(element)
      else { return nil }
      return (index, source)
    }
    guard let found else { throw AgentFailure(.changedMeanwhile, "\(disk.volume) is not plugged in") }
    return ("libvirt-\(found.index)-format", found.source)
  }

  private static func silent(_ vm: VMID) -> AgentFailure {
    AgentFailure(.hypervisorUnavailable, "QEMU does not tell of the disks of \(vm)")
  }
}
