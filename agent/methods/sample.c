/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/sample.h"

void point_set_values(Postern__V1__LoadPoint *point, const double v[POINT_VALUES])
{
	point->has_load1 = point->has_load5 = point->has_load15 = true;
	point->load1 = v[0];
	point->load5 = v[1];
	point->load15 = v[2];
	point->has_cpu_percent = true;
	point->cpu_percent = v[3];
	point->has_memory_total = point->has_memory_available = point->has_swap_used = true;
	point->memory_total = (uint64_t)v[4];
	point->memory_available = (uint64_t)v[5];
	point->swap_used = (uint64_t)v[6];
	point->has_cpu_pressure = point->has_memory_pressure = point->has_io_pressure = true;
	point->cpu_pressure = v[7];
	point->memory_pressure = v[8];
	point->io_pressure = v[9];
	point->has_disk_read = point->has_disk_write = true;
	point->disk_read = v[10];
	point->disk_write = v[11];
	point->has_link_rx = point->has_link_tx = true;
	point->link_rx = v[12];
	point->link_tx = v[13];
}

void point_values(Postern__V1__LoadPoint *point, double ret_values[POINT_VALUES])
{
	const double values[POINT_VALUES] = {point->load1, point->load5, point->load15,
		point->cpu_percent, (double)point->memory_total, (double)point->memory_available,
		(double)point->swap_used, point->cpu_pressure, point->memory_pressure,
		point->io_pressure, point->disk_read, point->disk_write, point->link_rx,
		point->link_tx};

	for (int i = 0; i < POINT_VALUES; i++)
		ret_values[i] = values[i];
}

void sample_to_point(const struct load_sample *s, Postern__V1__LoadPoint *ret_point)
{
	const double values[POINT_VALUES] = {s->load[0] / 100.0, s->load[1] / 100.0,
		s->load[2] / 100.0, s->cpu / 100.0, (double)s->memory_total,
		(double)s->memory_available, (double)s->swap_used, s->pressure[0] / 100.0,
		s->pressure[1] / 100.0, s->pressure[2] / 100.0, (double)s->disk_read,
		(double)s->disk_write, (double)s->link_rx, (double)s->link_tx};

	postern__v1__load_point__init(ret_point);
	ret_point->has_time_s = ret_point->has_samples = true;
	ret_point->time_s = s->time_s;
	ret_point->samples = 1;
	point_set_values(ret_point, values);
}
