extension ProblemKind {
  /// The page that `type` leads to: plain text, which browsers and terminals both show.
  var page: String { "\(title) (\(status))\n\n\(explanation)\n" }

  /// What happened, and what a client can do.
  private var explanation: String {
    switch self {
    case .badRequest:
      "The HTTP request itself is malformed: a header field, the target or the framing of the body. Send it as the detail says."
    case .malformedJSON:
      "The body is not JSON, or it is JSON that two parsers could read differently. The detail gives the line and the column."
    case .invalidMember:
      "A member of the body is unknown, missing, of another type or out of range. The member pointer says which (RFC 6901)."
    case .invalidParameter:
      "A query parameter or a segment of the path is unknown or does not have its form. The detail gives the form."
    case .unauthenticated:
      "The server wants to know who asks. Send a key as \"Authorization: Bearer vmp_…\"; one that was sent is not valid, or ended."
    case .scopeMissing:
      "The key, user or certificate may not do that. The detail names the scope that is missing; use a key that has it."
    case .rateLimited:
      "The key has made more requests than it may, a second or at a time. Try again after Retry-After."
    case .crossSiteRequest:
      "A browser sent the request for a page of another site. The server serves its own origin alone."
    case .unknownHost:
      "The request came under a host name that is not the server's. Use the address it listens on, or start it with --allow-host."
    case .routeNotFound:
      "The API has no such path. GET /docs lists the operations."
    case .imageNotFound:
      "No image has that name. GET /v1/images lists the images."
    case .blobNotFound:
      "No blob has that digest. PUT it; Upload-Offset says where an interrupted upload goes on."
    case .vmNotFound:
      "No VM has that id: it never was, or it is deleted. GET /v1/vms lists the VMs."
    case .vcpuNotFound:
      "The VM has no vCPU of that index. Indexes count from 0."
    case .poolNotFound:
      "No pool has that name. GET /v1/pools lists the pools."
    case .methodNotAllowed:
      "The path is there, but it does not take that method. Allow lists the methods that it takes."
    case .requestTimeout:
      "The request did not come whole in time. Send it again, faster."
    case .wrongState:
      "The VM is in a state in which the operation makes no sense. The member state gives it."
    case .staleFence:
      "The VM is not leased under that fence any more: the lease has ended. Lease another VM."
    case .poolDraining:
      "The pool is being deleted and takes nothing new. Wait until it is gone, or use another."
    case .declaredInFile:
      "The server's configuration file declares the pool. Change it there and send SIGHUP."
    case .builtinImage:
      "The image is shipped with the server and can be neither replaced nor deleted. Use another name."
    case .imageInUse:
      "A pool uses the image. Delete the pool, or let it use another image, first."
    case .blobInUse:
      "An image names the blob. Delete the image, and the blob goes with it."
    case .uploadInProgress:
      "Another client uploads the same blob. Wait for that upload to end."
    case .idempotencyKeyInUse:
      "The first request with that Idempotency-Key is not answered, or the server ended while it was served."
    case .idempotencyKeyReused:
      "That Idempotency-Key came with another body before. Give every request a key of its own."
    case .keyNotFound:
      "No key has that id, or it ended and was forgotten. GET /v1/keys lists the keys."
    case .firstKeyNeedsAdmin:
      "A server is closed once it has a key. The first one must have the scope admin, or nothing could make another."
    case .leaseNotFound:
      "No lease has that id, or it ended too long ago to be remembered. GET /v1/leases lists the leases."
    case .leaseReleased:
      "The lease was given back. Lease another VM."
    case .leaseExpired:
      "The lease ran out before it was extended. Lease another VM, and extend it in time."
    case .leaseLost:
      "The lease ended with its VM, its pool or the server. Lease another VM."
    case .preconditionFailed:
      "The resource is not as If-Match or If-None-Match says: another client was faster. GET it and try again."
    case .poolExhausted:
      "No VM of the pool was ready in time. Try again, wait longer (wait_ms), or let the pool keep more ready."
    case .quotaExceeded:
      "Your tenant has as much as its quota allows. Give something back, or ask the operator for more."
    case .tooManyWaiting:
      "As many requests wait for something as the server allows (--max-waiting). Try again in a moment."
    case .payloadTooLarge:
      "The body is larger than the operation takes. The detail gives the limit."
    case .wrongOffset:
      "The upload goes on at another byte. Upload-Offset says which."
    case .rangeNotSatisfiable:
      "The range begins behind the end of the blob. Content-Range gives its size."
    case .digestMismatch:
      "The bytes that came have another digest than was said, and nothing of them was kept. Send them again."
    case .invalidImage:
      "The bytes make no image that a VM can start. The detail says what they are and what to do instead."
    case .unsupportedMediaType:
      "The operation does not take a body of that type, or in that content coding. The detail says what to send."
    case .internalError:
      "The server failed. Its log has the request's id; please report it."
    case .draining:
      "The server is shutting down and takes no new work. Try again after Retry-After, at another server if there is one."
    case .serverBusy:
      "All worker threads are busy, and as much work waits for them as the server keeps. Try again after Retry-After."
    case .resourcesExhausted:
      "A limit of the server or the host is reached, such as its memory or its VMs. Release something, or raise the limit."
    case .storageFailed:
      "The change could not be written to the disk, so it did not happen. The server's log says why."
    case .insufficientStorage:
      "There is no room for the bytes, on the disk or within --max-blobs-mib. Delete images or blobs."
    case .kickTimeout:
      "The VM's vCPUs did not come out of the kernel in time. The server goes on trying; ask for the VM's state."
    case .vmQuarantined:
      "The VM could not be taken apart in time. It counts against the limits until its vCPUs come out of the kernel."
    }
  }
}
