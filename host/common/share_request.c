/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/share_request.h"

#include <stdlib.h>
#include <string.h>

#include "proto/encode.h"
#include "shares.pb-c.h"

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

uint8_t *share_mount_request(const struct share_config *share, uint32_t wait_ms, size_t *ret_len)
{
	Postern__V1__SharesMountRequest request = POSTERN__V1__SHARES_MOUNT_REQUEST__INIT;
	Postern__V1__MountOption read_only = POSTERN__V1__MOUNT_OPTION__INIT;
	Postern__V1__MountOption *options[] = {&read_only};

	read_only.key = (char *)"ro";
	request.has_target = request.has_source = 1;
	request.target = bytes_of(share->target);
	request.source = bytes_of(share->tag);
	request.type = (char *)(share->p9 ? "9p" : "virtiofs");
	request.options = options;
	request.n_options = share->read_only ? 1 : 0;
	request.has_persistent = 1;
	request.persistent = share->persistent;
	request.has_wait_ms = 1;
	request.wait_ms = wait_ms;
	return encode_new(&request.base, ret_len);
}
