import Glibc

extension AgentFailure {
  /// From the `errno` by which Ceph's libraries and programs tell what went wrong.
  ///
  /// - Parameters:
  ///   - what: what failed, in a few words.
  ///   - why: what Ceph says of it; nil: the code's own words.
  static func ceph(_ code: Int32, _ what: String, in pool: String, why: String?) -> AgentFailure {
    let detail = "\(what) failed (\(code)) in pool \(pool): \(why ?? String(cString: strerror(code)))"
    return switch code {
    case ENOSPC, EDQUOT: AgentFailure(.diskFull, detail)
    case EBUSY: AgentFailure(.volumeInUse, detail)
    case ETIMEDOUT: AgentFailure(.storage, "\(detail); the cluster does not answer")
    case ESHUTDOWN:
      AgentFailure(.storage, "\(detail); the cluster keeps this node out: `ceph osd blocklist ls`")
    default: AgentFailure(.storage, detail)
    }
  }
}
