/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Load samples as LoadPoint messages: for the history and for notify.system_load. */
#pragma once

#include <stdbool.h>

#include "agent/history.h"
#include "messages.h"

/* Fills in every field from one sample; point->time_s is the sample's. */
void sample_to_point(const struct load_sample *sample, Postern__V1__LoadPoint *ret_point);

/* The numbers of a point as an array, for what is done to all alike. */
#define POINT_VALUES 14
void point_values(Postern__V1__LoadPoint *point, double ret_values[POINT_VALUES]);
void point_set_values(Postern__V1__LoadPoint *point, const double values[POINT_VALUES]);
