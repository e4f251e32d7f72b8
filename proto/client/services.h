/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <protobuf-c/protobuf-c.h>

/* Every service of the .proto files, NULL at the end; made by the build. */
extern const ProtobufCServiceDescriptor *const postern_services[];
