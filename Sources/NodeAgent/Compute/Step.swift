import AloftModel

/// One thing to do for a VM. Each may be repeated: what is there already is not made again, what is gone is not missed.
public enum Step: Sendable, Hashable {
  case createSeed
  /// Store the definition, or replace it.
  case define(DomainTag)
  case start
  /// Start it with its processors held: it runs when ``release`` says so, which is not before its network is there.
  case startHeld
  /// Load its memory instead of booting it, and let it stand still: nothing has changed when that fails, or is done again.
  case restore(Assignment.Memory)
  case release
  case resume
  /// Ask the guest to power off; the journal knows since when it is being asked.
  case requestShutdown
  /// The guest is no longer to be off: what it does from now on it was not asked for.
  case forgetStop
  /// Pull the plug.
  case destroy
  case undefine
  /// Delete the VM's files and what the journal knows of it.
  case removeFiles
  /// Write the tag into the domain's metadata.
  case setTag(DomainTag)
  /// Plug a NIC into the guest that runs.
  case plug(Assignment.NIC)
  /// Ask the guest to give a NIC back.
  case unplug(NICID)
  /// Plug a volume into the guest that runs.
  case attach(Assignment.Disk)
  /// Ask the guest to give a volume back.
  case detach(VolumeID)
  /// Hold the guest that runs to a volume's I/O limits.
  case limit(Assignment.Disk)
  /// Carry out a one-time request; the journal says so before and after.
  case carryOut(Assignment.Request)
  /// The request has nothing left to do: the guest does not run.
  case completeRequest(Assignment.Request)

  /// What the agent does, for people who wait.
  public var activity: String {
    switch self {
    case .createSeed: "writing the seed disk"
    case .define: "defining the machine"
    case .start, .startHeld, .release: "starting"
    case .restore: "loading the guest's memory"
    case .resume: "resuming"
    case .requestShutdown: "waiting for the guest to shut down"
    case .destroy: "cutting the power"
    case .undefine: "removing the machine"
    case .removeFiles: "deleting the machine's files"
    case .plug: "plugging a network interface in"
    case .unplug: "waiting for the guest to give a network interface back"
    case .attach: "plugging a volume in"
    case .detach: "waiting for the guest to give a volume back"
    case .limit: "changing the I/O limits of a volume"
    case .forgetStop, .setTag, .completeRequest: "recording"
    case .carryOut(let request):
      request.kind == .reboot ? "asking the guest to reboot" : "resetting"
    }
  }
}

extension Assignment.NIC: Hashable {
  public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

extension Assignment.Disk: Hashable {
  public func hash(into hasher: inout Hasher) { hasher.combine(volume) }
}

extension Assignment.Request: Hashable {
  public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
