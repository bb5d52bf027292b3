import AloftModel

extension IOMeasure {
  /// What libvirt calls it (`virDomainSetBlockIoTune`, and `<iotune>` in a domain's XML).
  var parameter: String {
    switch self {
    case .totalIOPS: "total_iops_sec"
    case .readIOPS: "read_iops_sec"
    case .writeIOPS: "write_iops_sec"
    case .totalBytes: "total_bytes_sec"
    case .readBytes: "read_bytes_sec"
    case .writeBytes: "write_bytes_sec"
    }
  }

  var burstParameter: String { parameter + "_max" }
  var lengthParameter: String { parameter + "_max_length" }
}

extension IOLimits {
  /// All that libvirt knows of limits. What is not limited is 0: what is not named stays as it is.
  var parameters: [(name: String, value: Int)] {
    IOMeasure.allCases.flatMap { measure -> [(name: String, value: Int)] in
      let limit = self[measure]
      return [
        (measure.parameter, limit?.perSecond ?? 0), (measure.burstParameter, limit?.burst ?? 0),
        (measure.lengthParameter, limit?.burstSeconds ?? 0),
      ]
    }
  }
}

extension Assignment {
  /// The volumes of its guest that are held to other limits than they are to be.
  func stale(among plugged: [DomainDisk]) -> [Disk] {
    disks.filter { disk in
      plugged.contains { $0.volume == disk.volume && $0.limits != disk.limits ?? IOLimits() }
    }
  }
}
