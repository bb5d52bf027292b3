import AloftModel
import JSON

extension CommandFailure {
  /// What an answer of the server means that is no success. The body is read leniently: a newer server may know codes
  /// that this program does not, and a proxy in between answers in its own way.
  init(status: Int, body: [UInt8], requestID: String?, path: String) {
    let exit = CommandStatus(httpStatus: status) ?? .serverFault
    guard let problem = try? JSONValue.parse(body), let detail = problem["detail"]?.stringValue else {
      self.init(
        exit, "the server answered \(status) without saying why",
        hint: "Is this the address of an Aloft server? See --url and ALOFT_URL.", requestID: requestID)
      return
    }
    let code = problem["code"]?.stringValue.flatMap(ProblemCode.init(rawValue:))
    let title = problem["title"]?.stringValue ?? ""
    self.init(
      exit, detail.isEmpty ? title : detail,
      lines: Self.faults(problem["errors"]) + Self.refusal(problem["refusal"]),
      hint: Self.hint(code, status: status, noun: APIPath.noun(of: path)),
      requestID: problem["request_id"]?.stringValue ?? requestID)
  }

  private static func faults(_ errors: JSONValue?) -> [String] {
    (errors?.arrayValue ?? []).map { error in
      let place = error["pointer"]?.stringValue ?? error["parameter"]?.stringValue
      let detail = error["detail"]?.stringValue ?? error["code"]?.stringValue ?? "not valid"
      return place.map { "\($0): \(detail)" } ?? detail
    }
  }

  /// One line per constraint, then one per change that would make it fit.
  static func refusal(_ refusal: JSONValue?) -> [String] {
    guard let refusal else { return [] }
    let nodes = refusal["nodes"]?.intValue ?? 0
    let removed = (refusal["removed"]?.arrayValue ?? []).map { removal in
      let count = removal["nodes"]?.intValue ?? 0
      return "\(Presentation.plain(removal["constraint"])): removed \(counted(count)): "
        + Presentation.plain(removal["reason"])
    }
    let hints = (refusal["hints"]?.arrayValue ?? []).map { "would fit: \(Presentation.plain($0))" }
    return ["of \(counted(nodes)):"] + removed + hints
  }

  private static func counted(_ nodes: Int) -> String { nodes == 1 ? "1 node" : "\(nodes) nodes" }

  private static func hint(_ code: ProblemCode?, status: Int, noun: String?) -> String? {
    switch code {
    case .unauthenticated, .tokenInvalid, .tokenExpired, .userDisabled:
      return "Put a valid API token into ALOFT_TOKEN, or into a file named by --token-file; or log in: aloft login."
    case .forbidden: return "Ask for a token that may do this, or check --project."
    case .notFound: return noun.map { "`aloft \($0) list` shows what there is." }
    case .imageUnknown: return "`aloft image list` shows what there is."
    case .imageNotReady: return "Give it its content with `aloft image upload`, then try again."
    case .nameTaken: return "Choose another name, or delete what has it."
    case .inUse: return "Delete what uses it or is in it first, then try again."
    case .limitReached: return "Delete what is not in use; `list` shows it."
    case .quotaExceeded: return "`aloft quota show` shows what is used."
    case .noCapacity: return "Ask for less, or add a node; `aloft node list` shows what is claimed."
    case .wrongState: return noun.map { "`aloft \($0) show` tells its state." }
    case .preconditionFailed: return "It has changed in the meantime; look at it and try again."
    case .idempotencyKeyReused: return "Use another --idempotency-key for another request."
    case .checksumMismatch: return "Nothing was kept; upload the file again."
    case .uploadIncomplete: return "What has arrived is kept; the same command again goes on there."
    case .uploadInUse: return "Wait until whoever uploads it is done."
    case .imageInvalid: return "The content must be a qcow2 or raw disk; `qemu-img info` tells what the file is."
    case .urlRefused:
      return "The operator of the cloud decides where webhooks and fetches may lead; ask for it to be allowed."
    case .unavailable, .nodeUnreachable, .timeout, .rateLimited: return "Try again in a moment."
    case .internal: return "This is a fault of the server; tell its operator the request id."
    default: return status == 400 ? "`--help` behind the command lists what it takes." : nil
    }
  }
}
