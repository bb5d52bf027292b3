import AloftModel
import IPAddressing

/// How long a VM's devices are being waited for; milliseconds of uptime, of this process.
public struct DeviceProgress: Sendable, Hashable {
  /// Since when the guest is held because ports are missing.
  public var heldSince: Int?
  /// NICs that the guest was asked to give back.
  public var unplugs: [NICID: Unplug]
  /// Volumes that the guest was asked to give back.
  public var detaches: [VolumeID: Unplug]

  public struct Unplug: Sendable, Hashable {
    public var askedFirst: Int
    public var askedLast: Int
  }

  public init(heldSince: Int? = nil, unplugs: [NICID: Unplug] = [:], detaches: [VolumeID: Unplug] = [:]) {
    self.detaches = detaches
    self.heldSince = heldSince
    self.unplugs = unplugs
  }
}

extension DeviceProgress {
  /// Follows what was seen of the VM.
  mutating func follow(_ actual: ActualVM, _ now: Int) {
    heldSince = actual.isHeld ? heldSince ?? now : nil
    let plugged = Set(actual.nics.map(\.id))
    unplugs = unplugs.filter { plugged.contains($0.key) }
    let attached = Set(actual.disks.map(\.volume))
    detaches = detaches.filter { attached.contains($0.key) }
  }

  mutating func noteUnplug(_ nic: NICID, _ now: Int) {
    unplugs[nic] = Unplug(askedFirst: unplugs[nic]?.askedFirst ?? now, askedLast: now)
  }

  mutating func noteDetach(_ volume: VolumeID, _ now: Int) {
    detaches[volume] = Unplug(askedFirst: detaches[volume]?.askedFirst ?? now, askedLast: now)
  }
}

extension ActualVM {
  /// The guest stands still, not by its own fault, and its network is not there.
  var isHeld: Bool {
    guard missingPorts != nil, case .paused(let cause)? = domain?.power else { return false }
    return cause != .ioError
  }
}

extension Plan {
  /// Milliseconds that OVN may take to install a port before somebody is told.
  public static let portPatience = 30_000
  /// Milliseconds between looks at ports that are missing; changes are told, this finds what was not.
  static let portLook = 1_000
  /// Milliseconds that a guest may take to give a NIC back before somebody is told.
  public static let unplugPatience = 60_000

  /// These steps first.
  func behind(_ steps: [Step], wakeAt: Int? = nil) -> Plan {
    var plan = self
    plan.steps = steps + plan.steps
    plan.wakeAt = [wakeAt, plan.wakeAt].compactMap { $0 }.min()
    return plan
  }
}

extension Plan.Situation {
  var isHeld: Bool { actual.isHeld }

  /// A guest that stands still and should run.
  func goOn(_ cause: DomainPower.PauseCause) -> Plan {
    guard let missing = actual.missingPorts else {
      let isStart = desired.memory != nil || cause == .asked && !actual.nics.isEmpty
      return Plan(noteResumed + [isStart && cause != .ioError ? .release : .resume])
    }
    let names = missing.nics.map(\.description).joined(separator: ", ")
    var plan = Plan(wakeAt: now + Plan.portLook, activity: "waiting for the network port of \(names)")
    if let since = devices.heldSince, now - since >= Plan.portPatience {
      plan.problem = Observation.Problem(
        code: .networkNotReady, detail: "the guest does not run yet: the port of \(names) is missing: \(missing.reason)"
      )
    }
    return plan
  }

  /// What has to be plugged in and out of a guest that runs. Whatever else there is to do goes first: a guest may never give
  /// a device back.
  var networkPlan: Plan {
    guard let wanted = desired.nics else { return Plan() }
    var plan = Plan()
    let leaving = actual.nics.filter { nic in
      !wanted.contains { $0.id == nic.id && MACAddress($0.mac) == MACAddress(nic.mac) }
    }
    for nic in leaving { ask(nic.id, &plan) }
    let plugged = Set(actual.nics.map(\.id))
    plan.steps += wanted.filter { !plugged.contains($0.id) }.map(Step.plug)
    return plan
  }

  private func ask(_ nic: NICID, _ plan: inout Plan) {
    guard let asked = devices.unplugs[nic] else { return plan.steps.append(.unplug(nic)) }
    plan.wait(for: asked, .unplug(nic), what: nic.description, now)
  }
}
