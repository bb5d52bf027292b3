import AloftModel
import Libvirt

extension DomainTag {
  /// Reads the metadata element; nil if it is not one.
  init?(xml: String) {
    // libvirt leaves the prefix's declaration out of what it returns; only attributes are read, without a prefix.
    guard let element = try? ParsedXML(Self.withoutPrefix(xml)).first("/*"),
      let incarnation = element.attribute("incarnation").flatMap({ Int($0) }),
      let generation = element.attribute("generation").flatMap({ Int($0) })
    else { return nil }
    self.init(
      incarnation: incarnation, generation: generation,
      ranGeneration: element.attribute("ran").flatMap { Int($0) } ?? 0,
      guestStopped: element.attribute("guest-stopped") == "true",
      powerCut: element.attribute("power-cut") == "true",
      digest: element.attribute("digest") ?? "", disks: element.attribute("disks") ?? "",
      resumed: element.attribute("resumed").flatMap { VMRequestID($0) })
  }

  private static func withoutPrefix(_ xml: String) -> String {
    let open = "<\(DomainMetadata.prefix):"
    return xml.hasPrefix(open) ? "<" + xml.dropFirst(open.count) : xml
  }
}

extension DomainPower {
  init(_ state: DomainState) {
    switch state {
    case .running, .blocked: self = .running
    case .paused(.ioError): self = .paused(.ioError)
    case .paused(.user): self = .paused(.asked)
    // QEMU is being started or ended; the next event tells how it went.
    case .paused(.startingUp), .paused(.shuttingDown), .shuttingDown: self = .shuttingDown
    case .paused: self = .paused(.other)
    case .suspended: self = .suspended
    case .crashed: self = .panicked
    case .shutOff(.shutdown): self = .off(.guestShutdown)
    case .shutOff(.destroyed): self = .off(.destroyed)
    case .shutOff(.crashed), .shutOff(.failed): self = .off(.failed)
    case .shutOff(.saved): self = .off(.saved)
    case .shutOff: self = .off(.unknown)
    case .unknown: self = .off(.unknown)
    }
  }
}

extension AgentFailure {
  init(_ error: LibvirtError) {
    switch error.code {
    case .connectionLost: self.init(.hypervisorUnavailable, error.description)
    case .noDomain, .operationInvalid: self.init(.changedMeanwhile, error.description)
    case .notSupported, .operationUnsupported: self.init(.unsupported, error.description)
    default:
      let isFull = error.message.contains("No space left on device")
      self.init(isFull ? .diskFull : .hypervisorRefused, error.description)
    }
  }
}
