// Positions on the sphere and on the map: latitude, longitude, in degrees.

const RADIANS = Math.PI / 180;
const ARC_STEPS = 48;

// Equal Earth projection (Šavrič, Patterson and Jenny 2018), in Earth radii: as geobench.pictures.worldmap.equal_earth.
function equalEarth(latitude, longitude) {
  const theta = Math.asin((Math.sqrt(3) / 2) * Math.sin(latitude * RADIANS));
  const t2 = theta * theta;
  const t6 = t2 * t2 * t2;
  const slope = 9 * 0.003796 * t6 * t2 + 7 * 0.000893 * t6 - 3 * 0.081106 * t2 + 1.340264;
  const x = (2 * Math.sqrt(3) * longitude * RADIANS * Math.cos(theta)) / (3 * slope);
  const y = theta * (0.003796 * t6 * t2 + 0.000893 * t6 - 0.081106 * t2 + 1.340264);
  return [x, y];
}

function haversineKm(latitude, longitude, otherLatitude, otherLongitude, radius) {
  const [a, b] = [latitude * RADIANS, otherLatitude * RADIANS];
  const across = Math.sin(((otherLongitude - longitude) * RADIANS) / 2) ** 2;
  const root = Math.sin((b - a) / 2) ** 2 + Math.cos(a) * Math.cos(b) * across;
  return 2 * radius * Math.asin(Math.min(1, Math.sqrt(root)));
}

// The great circle between two positions as a line on the map, cut where it crosses the edge.
function arc(latitude, longitude, otherLatitude, otherLongitude) {
  const [from, to] = [unit(latitude, longitude), unit(otherLatitude, otherLongitude)];
  const angle = Math.acos(Math.min(1, Math.max(-1, from[0] * to[0] + from[1] * to[1] + from[2] * to[2])));
  const [xs, ys] = [[], []];
  let before = longitude;
  for (let step = 0; step <= ARC_STEPS; step++) {
    const share = step / ARC_STEPS;
    const [a, b] = angle < 1e-6 ? [1 - share, share] : [Math.sin((1 - share) * angle), Math.sin(share * angle)];
    const [x, y, z] = from.map((value, axis) => a * value + b * to[axis]);
    const here = Math.atan2(y, x) / RADIANS;
    if (Math.abs(here - before) > 180) {
      xs.push(NaN);
      ys.push(NaN);
    }
    before = here;
    const point = equalEarth(Math.atan2(z, Math.hypot(x, y)) / RADIANS, here);
    xs.push(point[0]);
    ys.push(point[1]);
  }
  return [xs, ys];
}

function unit(latitude, longitude) {
  const [a, b] = [latitude * RADIANS, longitude * RADIANS];
  return [Math.cos(a) * Math.cos(b), Math.cos(a) * Math.sin(b), Math.sin(a)];
}
